// Gradient to the kept weights: one dot product per kept weight, of its shifted input with the gradient of
// its output channel. Up to 16 weights of one output channel share each loaded gradient vector; their sums
// stay in registers over a tile of pixels, and 16 of them are reduced together by a transpose-add.
//
// Tried, in share of the peak at 50 / 90 % for 64 -> 64 channels on 8x8: groups of 8 over the whole band,
// inputs in L2, one sum reduced at a time 54 / 41; groups of 16 with gradients of four columns in registers
// and 16 sums reduced together 61 / 48. Small tiles with the inputs in L1 (16-32 vectors) lost to large ones
// in L2 (64 and more): each tile pays the reduction and the gradient loads again. An L1 of 48 KB holds tiles
// that are large enough: on a Xeon (model 207) that is 13 to 19 % faster at 50 % for 16 to 64 channels of 16
// to 32 pixels a side, and equal at 90 %.

constexpr int kGroup = kTileVectors >= 20 ? 16 : kTileVectors >= 7 ? 4 : 2;

constexpr int64_t kMaxSlices = 16;   // of the batch, each with a partial gradient of its own
constexpr int64_t kSlicePixels = 8;  // fewer pixels do not pay for clearing and adding a partial gradient

// Vectors of input of a tile: half of an L1 that is large enough, else 64 KB of L2.
inline int64_t dot_tile_vectors() {
    constexpr int64_t vector = kLanes * sizeof(float);
    return l1_bytes() > 32 * 1024 ? l1_bytes() / 2 / vector : 64 * 1024 / vector;
}

struct DotTile {
    const float *input, *grad;
    int64_t input_row, grad_row;  // floats between rows
    int64_t grad_column;
    int64_t rows, columns;
};

template <int COUNT, int COLUMNS, int STEP = 1>
inline void dot_columns(Vec (&sums)[COUNT], const float* const (&input)[COUNT], const float* grad,
                        int64_t grad_column, int64_t at) {
    Vec g[COLUMNS];
    SPARSEFIT_UNROLL for (int c = 0; c < COLUMNS; ++c) g[c] = load(grad + c * grad_column);
    SPARSEFIT_UNROLL for (int k = 0; k < COUNT; ++k) SPARSEFIT_UNROLL for (int c = 0; c < COLUMNS; ++c)
        sums[k] = fma(g[c], load(input[k] + at + c * STEP * kLanes), sums[k]);
}

// STEP: columns between the inputs of two neighbours.
template <int COUNT, int STEP>
void dot_tile(const DotTile& t, const Entry* entries, float* grad_values) {
    constexpr int WIDE = kTileVectors >= 20 ? 4 : 1;
    Vec sums[COUNT];
    const float* input[COUNT];
    const int64_t rows = t.rows, columns = t.columns, input_row = t.input_row, grad_row = t.grad_row;
    const int64_t grad_column = t.grad_column;
    SPARSEFIT_UNROLL for (int k = 0; k < COUNT; ++k) {
        sums[k] = broadcast(0.0f);
        input[k] = t.input + static_cast<uint64_t>(entries[k].offset) * kLanes;
    }
    for (int64_t r = 0; r < rows; ++r) {
        const float* grad = t.grad + r * grad_row;
        int64_t at = r * input_row;
        int64_t c = columns;
        for (; c >= WIDE; c -= WIDE, grad += WIDE * grad_column, at += WIDE * STEP * kLanes)
            dot_columns<COUNT, WIDE, STEP>(sums, input, grad, grad_column, at);
        if constexpr (WIDE == 4)
            if (c >= 2) {
                dot_columns<COUNT, 2, STEP>(sums, input, grad, grad_column, at);
                c -= 2, grad += 2 * grad_column, at += 2 * STEP * kLanes;
            }
        if (WIDE > 1 && c) dot_columns<COUNT, 1, STEP>(sums, input, grad, grad_column, at);
    }
    Vec all[kLanes];
    SPARSEFIT_UNROLL for (int k = 0; k < kLanes; ++k) all[k] = k < COUNT ? sums[k] : broadcast(0.0f);
    store_first(grad_values, add(sums_of(all), load_first(grad_values, COUNT)), COUNT);
}

// The sum of the gradients of a tile: part of the gradient to the bias, taken while they lie in L1.
inline float sum_tile(const DotTile& t) {
    Vec sums[4] = {broadcast(0.0f), broadcast(0.0f), broadcast(0.0f), broadcast(0.0f)};
    for (int64_t r = 0; r < t.rows; ++r) {
        const float* grad = t.grad + r * t.grad_row;
        int64_t c = t.columns;
        for (; c >= 4; c -= 4, grad += 4 * t.grad_column)
            SPARSEFIT_UNROLL for (int k = 0; k < 4; ++k) sums[k] =
                add(sums[k], load(grad + k * t.grad_column));
        for (; c > 0; --c, grad += t.grad_column) sums[0] = add(sums[0], load(grad));
    }
    return sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

// The next group of `count` weights: groups of one cell are about equal, a last group of one would be waste.
inline int even_group(int count) {
    return count <= kGroup ? count : count < 2 * kGroup ? (count + 1) / 2 : kGroup;
}

using DotKernel = void (*)(const DotTile&, const Entry*, float*);
template <int STEP, int... I>
constexpr void fill_dots(DotKernel (&table)[kGroup], std::integer_sequence<int, I...>) {
    ((table[I] = dot_tile<I + 1, STEP>), ...);
}
template <int STEP>
struct DotTable {
    DotKernel kernel[kGroup];
    constexpr DotTable() : kernel{} { fill_dots<STEP>(kernel, std::make_integer_sequence<int, kGroup>()); }
};
constexpr DotTable<1> kDots;
constexpr DotTable<2> kDotsOfEverySecond;

void KERNEL(sparse_conv2d_backward_weight_over_batch)(const Conv& conv, const Operand& input,
                                                      const Operand& grad_output, const Pattern& pattern,
                                                      float* grad_values, float* grad_bias,
                                                      const Pooling* pooling, int threads) {
    // The gather convolution of the forward pass says where each weight finds its inputs.
    Gather g = forward_gather(conv, input, nullptr, nullptr, pattern, grad_output, false);
    read_every_second(g);
    const View &in = g.input, &grad = g.output;
    std::fill_n(grad_values, pattern.nnz, 0.0f);
    if (grad_bias) std::fill_n(grad_bias, conv.c_out, 0.0f);
    if (conv.n == 0) return;
    const auto& dots = g.stage.column_step == 2 ? kDotsOfEverySecond.kernel : kDots.kernel;
    const bool staged_grad = !grad.whole_vectors || pooling, staged_input = !reads_operand(g);
    const int64_t row_vectors =
        (staged_input ? g.stage.channels * g.stage.row_pitch() * g.stage.row_step : 0) +
        (staged_grad ? grad.channels * grad.width : 0);
    const int64_t unit = pooling ? 2 : 1;  // rows of a window
    const int64_t band =
        unit * even_part(g.rows / unit, kStageVectors / std::max<int64_t>(unit * row_vectors, 1));
    const Pitch pitch = staged_input ? Pitch{staged_channel_pitch(g.stage.rows(band) * g.stage.row_pitch()),
                                             g.stage.row_pitch()}
                                     : Pitch{in.channel / kLanes, in.row / kLanes};
    // A tile for the channels that give about a full group of weights.
    const double kept_per_channel = static_cast<double>(pattern.nnz) / (conv.c_out * conv.c_in_group());
    const int64_t channels = std::clamp<int64_t>(static_cast<int64_t>(16 / std::max(kept_per_channel, 1e-3)),
                                                 1, g.channels_per_group);
    const int64_t columns_of_tile = even_part(grad.width, 16);
    const int64_t halo_columns =
        std::min(g.stage.row_pitch(), tile_columns(g.stage, columns_of_tile, grad.width) * g.stage.phases);
    int64_t tile_rows =
        (dot_tile_vectors() / channels / halo_columns - (g.stage.row_span - 1)) / g.stage.row_step;
    tile_rows = even_part(g.rows, std::max<int64_t>(tile_rows, std::max<int64_t>(1, 32 / columns_of_tile)));
    const Plan plan =
        make_plan(g.row_count, g.rows_per_group, g.channels_per_group, g.starts, g.places, nullptr, nullptr,
                  g.classes[0].table, channels, pitch.channel, pitch.row, g.stage.columns);
    const Stage grad_stage{grad.channels, 0, 1, 1, 0, 1, grad.width};

    // The order of every sum is fixed by the layer alone, so the bits are equal for any number of threads:
    // tasks take either all output channels over a slice of the batch, or some of them over the whole batch.
    // Slices need a partial gradient each, but stage each input once.
    const bool sliced = in.blocks > 1 && g.rows * grad.width >= kSlicePixels;
    const int64_t slices = sliced ? std::min(in.blocks, kMaxSlices) : 1;
    const int64_t parts = sliced ? 1 : std::min<int64_t>(threads, g.row_count);
    const std::vector<int64_t> part_rows = balanced_rows(g.starts, g.row_count, parts);
    const int64_t partial_size = pattern.nnz + conv.c_out;
    std::vector<float> partials(sliced ? slices * partial_size : 0, 0.0f);
    parallel_for(parts * slices, threads, [&](int64_t task) {
        const int64_t c0 = part_rows[task % parts], c1 = part_rows[task % parts + 1], slice = task / parts;
        if (c0 == c1) return;
        float* const values_sum = sliced ? partials.data() + slice * partial_size : grad_values;
        float* const bias_sum = !grad_bias ? nullptr : sliced ? values_sum + pattern.nnz : grad_bias;
        for (int64_t b = in.blocks * slice / slices; b < in.blocks * (slice + 1) / slices; ++b)
            for (int64_t i0 = 0; i0 < g.rows; i0 += band) {
                const int64_t rows = std::min(band, g.rows - i0), columns = grad.width;
                const float* source;
                if (staged_input) {
                    float* staged = scratch(Use::kInput).floats(g.stage.channels * pitch.channel * kLanes);
                    stage(in, b, g.stage, g.stage.row_first + i0 * g.stage.row_step, g.stage.rows(rows),
                          pitch.channel, staged);
                    source = staged;
                } else
                    source = in.at(b, 0, g.stage.row_first + i0 * g.stage.row_step, g.stage.column_first);
                int64_t grad_channel = grad.channel;
                DotTile t{nullptr, nullptr, g.stage.row_step * pitch.row * kLanes, grad.row, grad.column,
                          0,       0};
                const float* grads = grad.at(b, 0, i0, 0);
                if (staged_grad) {
                    float* target = scratch(Use::kOutput).floats(grad.channels * rows * grad.width * kLanes);
                    grads = target;
                    grad_channel = rows * grad.width * kLanes;
                    if (pooling)
                        unpool_band(*pooling, grad, b, c0, c1, i0, rows, target, grad_channel, bias_sum);
                    else
                        stage(grad, b, grad_stage, i0, rows, rows * grad.width, target);
                    t.grad_row = grad.width * kLanes;
                    t.grad_column = kLanes;
                }
                const auto dot_products = [&](const Entry* entries, int count, float* target) {
                    for (int k = 0; k < count;) {
                        const int group = even_group(count - k);
                        dots[group - 1](t, entries + k, target + k);
                        k += group;
                    }
                };
                for (int64_t i = 0; i < rows; i += tile_rows)
                    for (int64_t j = 0; j < columns; j += columns_of_tile) {
                        t.rows = std::min(tile_rows, rows - i);
                        t.columns = std::min(columns_of_tile, columns - j);
                        t.input = source + i * t.input_row + j * g.stage.column_step * kLanes;
                        const float* grad_tile = grads + i * t.grad_row + j * t.grad_column;
                        for (const Cell& cell : plan.cells) {
                            if (cell.row < c0 || cell.row >= c1) continue;
                            t.grad = grad_tile + cell.row * grad_channel;
                            dot_products(plan.entries.data() + cell.entry, cell.count,
                                         values_sum + cell.value);
                            if (bias_sum && !pooling && cell.opens) bias_sum[cell.row] += sum_tile(t);
                        }
                    }
            }
    });
    for (int64_t slice = 0; sliced && slice < slices; ++slice) {
        const float* partial = partials.data() + slice * partial_size;
        for (int64_t i = 0; i < pattern.nnz; ++i) grad_values[i] += partial[i];
        for (int64_t c = 0; grad_bias && c < conv.c_out; ++c) grad_bias[c] += partial[pattern.nnz + c];
    }
}
