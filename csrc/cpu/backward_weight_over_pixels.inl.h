// Gradient to the kept weights for small batches: dot products along the lines of gather_over_pixels.inl.h.
// The gradient is staged on the line of the output, with zeros between its rows.

template <int COUNT>
void dot_over_pixels(const float* input, const float* grad, int64_t vectors, const Entry* entries,
                     float* grad_values) {
    constexpr int WIDE = kTileVectors >= 20 ? 4 : 1;
    Vec sums[COUNT];
    const float* in[COUNT];
    SPARSEFIT_UNROLL for (int k = 0; k < COUNT; ++k) {
        sums[k] = broadcast(0.0f);
        in[k] = input + entries[k].offset;
    }
    int64_t v = 0;
    for (; v + WIDE <= vectors; v += WIDE)
        dot_columns<COUNT, WIDE>(sums, in, grad + v * kLanes, kLanes, v * kLanes);
    for (; WIDE > 1 && v < vectors; ++v)
        dot_columns<COUNT, 1>(sums, in, grad + v * kLanes, kLanes, v * kLanes);
    Vec all[kLanes];
    SPARSEFIT_UNROLL for (int k = 0; k < kLanes; ++k) all[k] = k < COUNT ? sums[k] : broadcast(0.0f);
    store_first(grad_values, add(sums_of(all), load_first(grad_values, COUNT)), COUNT);
}

using DotOverPixels = void (*)(const float*, const float*, int64_t, const Entry*, float*);
template <int... I>
constexpr void fill_dots_over_pixels(DotOverPixels (&table)[kGroup], std::integer_sequence<int, I...>) {
    ((table[I] = dot_over_pixels<I + 1>), ...);
}
struct DotsOverPixels {
    DotOverPixels kernel[kGroup];
    constexpr DotsOverPixels() : kernel{} {
        fill_dots_over_pixels(kernel, std::make_integer_sequence<int, kGroup>());
    }
};
constexpr DotsOverPixels kDotsOverPixels;

constexpr int64_t kDotVectors = 64;  // of one tile: long enough to pay for the final sums

void KERNEL(sparse_conv2d_backward_weight_over_pixels)(const Conv& conv, const Operand& input,
                                                       const Operand& grad_output, const Pattern& pattern,
                                                       float* grad_values, float* grad_bias, int threads) {
    const Gather g = forward_gather(conv, input, nullptr, nullptr, pattern, grad_output, false);
    const View &in = g.input, &grad = g.output;
    std::fill_n(grad_values, pattern.nnz, 0.0f);
    if (grad_bias) std::fill_n(grad_bias, conv.c_out, 0.0f);
    if (conv.n == 0) return;
    const Line line(g, conv.n);
    const int64_t tile = even_part(line.vectors, kDotVectors);
    const Plan plan = line.plan(g, g.classes[0], tile);

    float* staged = scratch(Use::kInput).floats(g.stage.channels * line.channel);
    parallel_for(g.stage.channels, threads,
                 [&](int64_t c) { stage_line(in, g.stage, line, c, staged + c * line.channel); });
    const int64_t grad_channel = line.vectors * kLanes;
    float* grads = scratch(Use::kOutput).floats(grad.channels * grad_channel);
    // Each output channel belongs to one task, which adds in a fixed order: equal bits for any number of
    // threads.
    const int64_t parts = std::min<int64_t>(threads, g.row_count);
    const std::vector<int64_t> part_rows = balanced_rows(g.starts, g.row_count, parts);
    parallel_for(parts, threads, [&](int64_t part) {
        const int64_t c0 = part_rows[part], c1 = part_rows[part + 1];
        for (int64_t c = c0; c < c1; ++c) {
            float* target = grads + c * grad_channel;
            std::fill(target, target + grad_channel, 0.0f);
            for (int64_t i = 0; i < grad.height; ++i)
                to_line(grad, grad.at(0, c, i, 0), 1, grad.width, line.lanes, target + i * line.pitch);
            if (!grad_bias) continue;
            Vec total = broadcast(0.0f);
            for (int64_t v = 0; v < line.vectors; ++v) total = add(total, load(target + v * kLanes));
            grad_bias[c] = sum(total);
        }
        for (int64_t v = 0; v < line.vectors; v += tile)
            for (const Cell& cell : plan.cells) {
                if (cell.row < c0 || cell.row >= c1) continue;
                const Entry* entries = plan.entries.data() + cell.entry;
                for (int k = 0; k < cell.count;) {
                    const int count = even_group(cell.count - k);
                    kDotsOverPixels.kernel[count - 1](
                        staged + v * kLanes, grads + cell.row * grad_channel + v * kLanes,
                        std::min(tile, line.vectors - v), entries + k, grad_values + cell.value + k);
                    k += count;
                }
            }
    });
}
