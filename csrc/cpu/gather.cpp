#include "cpu/gather.h"

#include <algorithm>

namespace sparsefit {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

}  // namespace

Gather forward_gather(const Conv& c, const Operand& input, const float* values, const float* bias,
                      const Pattern& pattern, const Operand& output, bool relu) {
    Gather g{};
    g.input = view(input, c.n, c.c_in, c.h_in, c.w_in);
    g.output = view(output, c.n, c.c_out, c.h_out, c.w_out);
    const int64_t reach_h = (c.kh - 1) * c.dilation_h, reach_w = (c.kw - 1) * c.dilation_w;
    g.stage.channels = c.c_in;
    g.stage.row_first = -c.pad_top;
    g.stage.row_step = c.stride_h;
    g.stage.row_span = reach_h + 1;
    g.stage.column_first = -c.pad_left;
    g.stage.phases = c.stride_w;
    g.stage.columns = g.output.width + reach_w / c.stride_w;
    PixelClass all{0, 1, 0, c.h_out, 0, 1, 0, g.output.width, {}};
    for (int64_t ic = 0; ic < c.c_in_group(); ++ic)
        for (int64_t ky = 0; ky < c.kh; ++ky)
            for (int64_t kx = 0; kx < c.kw; ++kx) {
                const int64_t x = kx * c.dilation_w;
                all.table.push_back({static_cast<int32_t>(ic), static_cast<int32_t>(ky * c.dilation_h),
                                     static_cast<int32_t>(x % c.stride_w),
                                     static_cast<int32_t>(x / c.stride_w)});
            }
    g.classes.push_back(std::move(all));
    g.rows = c.h_out;
    g.row_count = c.c_out;
    g.rows_per_group = c.c_out_group();
    g.channels_per_group = c.c_in_group();
    g.starts = pattern.rows;
    g.places = pattern.places;
    g.values = values;
    g.bias = bias;
    g.relu = relu;
    return g;
}

Gather backward_input_gather(const Conv& c, const Operand& grad_output, const float* values,
                             const Pattern& pattern, const Operand& grad_input) {
    Gather g{};
    g.input = view(grad_output, c.n, c.c_out, c.h_out, c.w_out);
    g.output = view(grad_input, c.n, c.c_in, c.h_in, c.w_in);
    // Input pixel y takes output pixel (y + pad - ky * dilation) / stride where that is whole. With
    // y + pad = stride * (q_first + i) + phase, the taps of one phase read output rows q_first + i - tap /
    // stride.
    const int64_t halo_h = (c.kh - 1) * c.dilation_h / c.stride_h,
                  halo_w = (c.kw - 1) * c.dilation_w / c.stride_w;
    const int64_t q_row = c.pad_top / c.stride_h, q_column = c.pad_left / c.stride_w;
    g.rows = (c.h_in - 1 + c.pad_top) / c.stride_h - q_row + 1;
    const int64_t columns = (c.w_in - 1 + c.pad_left) / c.stride_w - q_column + 1;
    g.stage.channels = c.c_out;
    g.stage.row_first = q_row - halo_h;
    g.stage.row_step = 1;
    g.stage.row_span = halo_h + 1;
    g.stage.column_first = q_column - halo_w;
    g.stage.phases = 1;
    g.stage.columns = columns + halo_w;
    for (int64_t phase_h = 0; phase_h < c.stride_h; ++phase_h)
        for (int64_t phase_w = 0; phase_w < c.stride_w; ++phase_w) {
            PixelClass pixels{};
            pixels.first_row = q_row * c.stride_h + phase_h - c.pad_top;
            pixels.step_row = c.stride_h;
            pixels.rows_from = std::max<int64_t>(0, ceil_div(-pixels.first_row, c.stride_h));
            pixels.rows_to = ceil_div(c.h_in - pixels.first_row, c.stride_h);
            pixels.first_column = q_column * c.stride_w + phase_w - c.pad_left;
            pixels.step_column = c.stride_w;
            pixels.columns_from = std::max<int64_t>(0, ceil_div(-pixels.first_column, c.stride_w));
            pixels.columns_to = ceil_div(c.w_in - pixels.first_column, c.stride_w);
            if (pixels.rows_from >= pixels.rows_to || pixels.columns_from >= pixels.columns_to) continue;
            for (int64_t oc = 0; oc < c.c_out_group(); ++oc)
                for (int64_t ky = 0; ky < c.kh; ++ky)
                    for (int64_t kx = 0; kx < c.kw; ++kx) {
                        const int64_t y = ky * c.dilation_h, x = kx * c.dilation_w;
                        const bool mine = y % c.stride_h == phase_h && x % c.stride_w == phase_w;
                        pixels.table.push_back({static_cast<int32_t>(oc),
                                                static_cast<int32_t>(mine ? halo_h - y / c.stride_h : -1), 0,
                                                static_cast<int32_t>(halo_w - x / c.stride_w)});
                    }
            g.classes.push_back(std::move(pixels));
        }
    g.row_count = c.c_in;
    g.rows_per_group = c.c_in_group();
    g.channels_per_group = c.c_out_group();
    g.starts = pattern.rows_transposed;
    g.places = pattern.places_transposed;
    g.permutation = pattern.permutation;
    g.values = values;
    return g;
}

}  // namespace sparsefit
