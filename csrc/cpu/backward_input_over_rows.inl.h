// Gradient to the input of a convolution without padding, stride or dilation: the useful products only.
//
// Idea: a gather convolution multiplies the zeros around a small map like everything else (12x12 from 8x8
// with 5x5 taps: 2.25 times the useful work). Here a row of the input stays in registers, and a weight adds
// to those of its pixels that it reaches, kx .. kx + width - 1: constants of the code once the weights of an
// input channel are ordered by kx. Within one kx they are ordered by ky, so those that reach the row are a
// range. Measured on a Zen 4 core, 32 <- 64 channels, 12x12 <- 8x8, batch 32: 1.7 times the gather at 0 and
// 50 %, 1.9 at 90 % sparsity.

// One kept weight: where its gradients lie relative to those of the row, in vectors.
struct RowEntry {
    int32_t offset;
    float value;
};

// The weights of all input channels, by block of output channels, input channel, kx, ky.
struct RowPlan {
    int64_t channels_per_block, blocks;
    std::vector<RowEntry> entries;
    std::vector<int32_t> starts;  // first entry of each key, and the end
};

constexpr int64_t kRowCellWeights = 40, kRowPad = 8;
constexpr int kRowTapsMin = 2, kRowTapsMax = 5, kRowWidthMin = 4, kRowWidthMax = 16;

inline RowPlan make_row_plan(const Conv& conv, const Pattern& pattern, const float* values, const View& grad,
                             int64_t channel_pitch) {
    // As many output channels as keep the gradients of one input row in L1, or twice that where few weights
    // are kept: a cell mostly loads and stores its sums then.
    const int64_t per_channel = conv.kh * conv.w_out, fit = kInputTileVectors / per_channel;
    const int64_t rich = kRowCellWeights * conv.c_in * conv.c_out / std::max<int64_t>(pattern.nnz, 1);
    RowPlan plan{even_part(conv.c_out, std::clamp(rich, fit, 2 * fit)), 0, {}, {}};
    plan.blocks = (conv.c_out + plan.channels_per_block - 1) / plan.channels_per_block;
    const int64_t taps = conv.taps();
    const auto key = [&](int64_t block, int64_t c, int64_t tap) {
        return (block * conv.c_in + c) * taps + tap % conv.kw * conv.kh + tap / conv.kw;
    };
    std::vector<int32_t> block_of(conv.c_out);
    for (int64_t o = 0; o < conv.c_out; ++o) block_of[o] = static_cast<int32_t>(o / plan.channels_per_block);
    plan.starts.assign(plan.blocks * conv.c_in * taps + 2, 0);
    int32_t* const next = plan.starts.data() + 1;  // counts, then where the next entry of a key goes
    for (int64_t c = 0; c < conv.c_in; ++c)
        for (int32_t i = pattern.rows_transposed[c]; i < pattern.rows_transposed[c + 1]; ++i) {
            const int64_t place = pattern.places_transposed[i];
            ++next[key(block_of[place / taps], c, place % taps) + 1];
        }
    for (size_t k = 1; k < plan.starts.size(); ++k) plan.starts[k] += plan.starts[k - 1];
    plan.entries.resize(pattern.nnz);
    for (int64_t c = 0; c < conv.c_in; ++c)
        for (int32_t i = pattern.rows_transposed[c]; i < pattern.rows_transposed[c + 1]; ++i) {
            const int64_t place = pattern.places_transposed[i], o = place / taps, tap = place % taps;
            plan.entries[next[key(block_of[o], c, tap)]++] = {
                static_cast<int32_t>(o * channel_pitch - tap / conv.kw * (grad.row / kLanes)),
                values[pattern.permutation[i]]};
        }
    return plan;
}

// `starts`: of the first key of the channel; ky runs over [ky_from, ky_to).
template <int TAPS, int WIDTH>
void input_row(const float* grad, const RowEntry* entries, const int32_t* starts, int64_t kh, int64_t ky_from,
               int64_t ky_to, bool opens, float* output) {
    Vec sums[WIDTH + TAPS - 1];
    SPARSEFIT_UNROLL for (int j = 0; j < WIDTH + TAPS - 1; ++j) sums[j] =
        opens ? broadcast(0.0f) : load(output + j * kLanes);
    SPARSEFIT_UNROLL for (int kx = 0; kx < TAPS; ++kx) {
        const RowEntry* const end = entries + starts[kx * kh + ky_to];
        for (const RowEntry* entry = entries + starts[kx * kh + ky_from]; entry < end; ++entry) {
            const Vec weight = broadcast(entry->value);
            const float* in = grad + static_cast<int64_t>(entry->offset) * kLanes;
            SPARSEFIT_UNROLL for (int j = 0; j < WIDTH; ++j) sums[kx + j] =
                fma(weight, load(in + j * kLanes), sums[kx + j]);
        }
    }
    SPARSEFIT_UNROLL for (int j = 0; j < WIDTH + TAPS - 1; ++j) store(output + j * kLanes, sums[j]);
}

using InputRow = void (*)(const float*, const RowEntry*, const int32_t*, int64_t, int64_t, int64_t, bool,
                          float*);

template <int TAPS, int WIDTH>
constexpr InputRow make_input_row() {
    if constexpr (TAPS >= kRowTapsMin && WIDTH >= kRowWidthMin && WIDTH + TAPS - 1 <= kTileVectors)
        return input_row<TAPS, WIDTH>;
    else
        return nullptr;
}

struct InputRowTable {
    InputRow kernel[kRowTapsMax + 1][kRowWidthMax + 1];
    template <int... I>
    constexpr void fill(std::integer_sequence<int, I...>) {
        constexpr int N = kRowWidthMax + 1;
        ((kernel[I / N][I % N] = make_input_row<I / N, I % N>()), ...);
    }
    constexpr InputRowTable() : kernel{} {
        fill(std::make_integer_sequence<int, (kRowTapsMax + 1) * (kRowWidthMax + 1)>());
    }
};
constexpr InputRowTable kInputRows;

// The kernel for a convolution, null where the gather has to do.
inline InputRow input_row_kernel(const Conv& c, const Operand& grad_output, const Operand& grad_input) {
    const bool plain = c.stride_h == 1 && c.stride_w == 1 && c.dilation_h == 1 && c.dilation_w == 1 &&
                       c.pad_top == 0 && c.pad_left == 0 && c.groups == 1 && c.h_in == c.h_out + c.kh - 1 &&
                       c.w_in == c.w_out + c.kw - 1;
    const bool vectors = grad_output.lanes == kLanes && grad_input.lanes == kLanes && grad_output.border == 0;
    if (!plain || !vectors || c.kw > kRowTapsMax || c.w_out > kRowWidthMax) return nullptr;
    return kInputRows.kernel[c.kw][c.w_out];
}

void KERNEL(sparse_conv2d_backward_input_over_rows)(const Conv& conv, const Operand& grad_output,
                                                    const float* values, const Pattern& pattern,
                                                    const Operand& grad_input, int threads) {
    const InputRow kernel = input_row_kernel(conv, grad_output, grad_input);
    const View grad = view(grad_output, conv.n, conv.c_out, conv.h_out, conv.w_out);
    const View out = view(grad_input, conv.n, conv.c_in, conv.h_in, conv.w_in);
    // Channels that share a few sets of L1 are copied apart.
    const bool staged = aliases(grad.channel / kLanes);
    const int64_t pitch = staged ? grad.channel / kLanes + kRowPad : grad.channel / kLanes;
    const RowPlan plan = make_row_plan(conv, pattern, values, grad, pitch);
    const int64_t taps = conv.taps();
    // Each output row is one sum in one order, whichever thread takes it.
    const int64_t bands = out.blocks >= 2 * threads || threads == 1 ? 1 : conv.h_in;
    parallel_for(out.blocks * bands, threads, [&](int64_t task) {
        const int64_t b = task / bands, band = task % bands;
        const int64_t y0 = conv.h_in * band / bands, y1 = conv.h_in * (band + 1) / bands;
        const float* grads = grad.at(b, 0, 0, 0);
        if (staged) {
            float* copy = scratch(Use::kInput).floats(conv.c_out * pitch * kLanes);
            for (int64_t c = 0; c < conv.c_out; ++c)
                std::copy(grads + c * grad.channel, grads + (c + 1) * grad.channel,
                          copy + c * pitch * kLanes);
            grads = copy;
        }
        for (int64_t block = 0; block < plan.blocks; ++block)
            for (int64_t y = y0; y < y1; ++y) {
                const int64_t ky_from = std::max<int64_t>(0, y - conv.h_out + 1);
                const int64_t ky_to = std::min(conv.kh, y + 1);
                for (int64_t c = 0; c < conv.c_in; ++c)
                    kernel(grads + y * grad.row, plan.entries.data(),
                           plan.starts.data() + (block * conv.c_in + c) * taps, conv.kh, ky_from, ky_to,
                           block == 0, out.at(b, c, y, 0));
            }
        clear_tail(out, b, 0, conv.c_in, y0, y1 - y0);
    });
}
