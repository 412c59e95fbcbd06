// Gradient to the kept weights: one dot product per kept weight, of its shifted input with the gradient of
// its output channel. Up to kGroup weights of one output channel share each loaded gradient vector; their
// sums stay in registers over a tile of pixels.

constexpr int kGroup = kTileVectors >= 16 ? 8 : kTileVectors >= 7 ? 4 : 2;

struct DotTile {
    const float *input, *grad;
    int64_t input_row, grad_row;  // floats between rows
    int64_t grad_column;
    int64_t rows, columns;
};

template <int COUNT>
void dot_tile(const DotTile& t, const Entry* entries, float* grad_values) {
    Vec sums[COUNT];
    for (Vec& s : sums) s = broadcast(0.0f);
    for (int64_t r = 0; r < t.rows; ++r)
        for (int64_t c = 0; c < t.columns; ++c) {
            const Vec grad = load(t.grad + r * t.grad_row + c * t.grad_column);
            const float* input = t.input + r * t.input_row + c * kLanes;
            for (int k = 0; k < COUNT; ++k)
                sums[k] = fma(grad, load(input + static_cast<uint64_t>(entries[k].offset) * kLanes), sums[k]);
        }
    for (int k = 0; k < COUNT; ++k) grad_values[k] += sum(sums[k]);
}

using DotKernel = void (*)(const DotTile&, const Entry*, float*);
template <int... I>
constexpr void fill_dots(DotKernel (&table)[kGroup], std::integer_sequence<int, I...>) {
    ((table[I] = dot_tile<I + 1>), ...);
}
struct DotTable {
    DotKernel kernel[kGroup];
    constexpr DotTable() : kernel{} { fill_dots(kernel, std::make_integer_sequence<int, kGroup>()); }
};
constexpr DotTable kDots;

void KERNEL(sparse_conv2d_backward_weight_over_batch)(const Conv& conv, const Operand& input,
                                                      const Operand& grad_output, const Pattern& pattern,
                                                      float* grad_values, float* grad_bias, int threads) {
    // The gather convolution of the forward pass says where each weight finds its inputs.
    Gather g = forward_gather(conv, input, nullptr, nullptr, pattern, grad_output, false);
    const View &in = g.input, &grad = g.output;
    std::fill_n(grad_values, pattern.nnz, 0.0f);
    if (grad_bias) std::fill_n(grad_bias, conv.c_out, 0.0f);
    if (conv.n == 0) return;
    const bool staged_grad = !grad.whole_vectors;
    const int64_t row_vectors = g.stage.channels * g.stage.row_pitch() * g.stage.row_step +
                                (staged_grad ? grad.channels * grad.width : 0);
    const int64_t bands = (g.rows + std::clamp<int64_t>(kStageVectors / row_vectors, 1, g.rows) - 1) /
                          std::clamp<int64_t>(kStageVectors / row_vectors, 1, g.rows);
    const int64_t band = (g.rows + bands - 1) / bands;
    const int64_t channel_pitch = g.stage.rows(band) * g.stage.row_pitch();
    const Plan plan =
        make_plan(g.row_count, g.rows_per_group, g.channels_per_group, g.starts, g.places, nullptr, nullptr,
                  g.classes[0].table, 16, channel_pitch, g.stage.row_pitch(), g.stage.columns);
    const Stage grad_stage{grad.channels, 0, 1, 1, 0, 1, grad.width};

    // Each output channel belongs to one task, which adds in a fixed order: equal bits for any number of
    // threads.
    const int64_t parts = std::min<int64_t>(threads, g.row_count);
    std::vector<int64_t> part_rows(parts + 1, g.row_count);
    for (int64_t p = 0; p < parts; ++p)
        part_rows[p] = std::lower_bound(g.starts, g.starts + g.row_count,
                                        static_cast<int32_t>(pattern.nnz * p / parts)) -
                       g.starts;
    part_rows[0] = 0;
    parallel_for(parts, threads, [&](int64_t part) {
        const int64_t c0 = part_rows[part], c1 = part_rows[part + 1];
        if (c0 == c1) return;
        for (int64_t b = 0; b < in.blocks; ++b)
            for (int64_t i0 = 0; i0 < g.rows; i0 += band) {
                const int64_t rows = std::min(band, g.rows - i0), columns = grad.columns(b);
                float* staged = scratch(Use::kInput).floats(g.stage.channels * channel_pitch * kLanes);
                stage(in, b, g.stage, g.stage.row_first + i0 * g.stage.row_step, g.stage.rows(rows),
                      channel_pitch, staged);
                float* copy = nullptr;
                if (staged_grad) {
                    copy = scratch(Use::kOutput).floats(grad.channels * rows * grad.width * kLanes);
                    stage(grad, b, grad_stage, i0, rows, rows * grad.width, copy);
                }
                DotTile t{staged,
                          nullptr,
                          g.stage.row_step * g.stage.row_pitch() * kLanes,
                          copy ? grad.width * kLanes : grad.row,
                          copy ? kLanes : grad.column,
                          rows,
                          columns};
                for (int64_t c = c0; grad_bias && c < c1; ++c) {
                    const float* p = copy ? copy + c * rows * grad.width * kLanes : grad.at(b, c, i0, 0);
                    Vec total = broadcast(0.0f);
                    for (int64_t r = 0; r < rows; ++r)
                        for (int64_t x = 0; x < columns; ++x)
                            total = add(total, load(p + r * t.grad_row + x * t.grad_column));
                    grad_bias[c] += sum(total);
                }
                for (const Cell& cell : plan.cells) {
                    if (cell.row < c0 || cell.row >= c1) continue;
                    t.grad =
                        copy ? copy + cell.row * rows * grad.width * kLanes : grad.at(b, cell.row, i0, 0);
                    for (int k = 0; k < cell.count; k += kGroup) {
                        const int count = std::min(kGroup, cell.count - k);
                        kDots.kernel[count - 1](t, plan.entries.data() + cell.entry + k,
                                                grad_values + cell.value + k);
                    }
                }
            }
    });
}
