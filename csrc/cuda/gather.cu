#include "cuda/gather.h"

#include <algorithm>
#include <limits>

#include "cuda/error.h"

namespace sparsefit::cuda {
namespace {

// Kernels count items and staged pixels of a group of channels with 32 bits, float offsets with 64.
constexpr int64_t kMostCounted = std::numeric_limits<int32_t>::max() - (1 << 18);  // loops step past the end

Gather checked(const Gather& g) {
    const int64_t largest = std::max({g.items(), int64_t{g.channels_per_group} * g.input.pixels(),
                                      int64_t{g.height} * g.width, int64_t{g.rows}, int64_t{g.channels}});
    if (largest > kMostCounted)
        throw CudaError("a convolution with " + std::to_string(largest) +
                        " pixels of a channel of the batch, or of all channels of an image; allowed are " +
                        std::to_string(kMostCounted) + ": split the batch");
    return g;
}

Gather common(const Conv& c, int lanes) {
    Gather g{};
    g.n = static_cast<int32_t>(c.n);
    g.blocks = static_cast<int32_t>((c.n + lanes - 1) / lanes);
    g.quads = lanes / 4;
    g.kw = static_cast<int32_t>(c.kw);
    g.taps = static_cast<int32_t>(c.taps());
    g.dilation_h = static_cast<int32_t>(c.dilation_h);
    g.dilation_w = static_cast<int32_t>(c.dilation_w);
    return g;
}

}  // namespace

Gather forward_gather(const Conv& c, int lanes) {
    Gather g = common(c, lanes);
    const int64_t reach_h = (c.kh - 1) * c.dilation_h, reach_w = (c.kw - 1) * c.dilation_w;
    g.channels = static_cast<int32_t>(c.c_in);
    g.rows = static_cast<int32_t>(c.c_out);
    g.channels_per_group = static_cast<int32_t>(c.c_in_group());
    g.rows_per_group = static_cast<int32_t>(c.c_out_group());
    g.height = static_cast<int32_t>(c.h_out);
    g.width = static_cast<int32_t>(c.w_out);
    g.input_height = static_cast<int32_t>(c.h_in);
    g.input_width = static_cast<int32_t>(c.w_in);
    g.step_h = g.step_w = 1;
    g.input_step = static_cast<int32_t>(c.stride_h);
    g.in_place = c.pad_top == 0 && c.pad_left == 0 && c.stride_w == 1 &&
                 (c.h_out - 1) * c.stride_h + reach_h < c.h_in && c.w_out + reach_w <= c.w_in;
    g.input = {static_cast<int32_t>(-c.pad_top),
               static_cast<int32_t>((c.h_out - 1) * c.stride_h + reach_h + 1),
               static_cast<int32_t>(-c.pad_left), static_cast<int32_t>(c.w_out + reach_w / c.stride_w),
               static_cast<int32_t>(c.stride_w)};
    if (g.in_place) g.input = {0, static_cast<int32_t>(c.h_in), 0, static_cast<int32_t>(c.w_in), 1};
    return checked(g);
}

Gather backward_input_gather(const Conv& c, int lanes) {
    Gather g = common(c, lanes);
    g.channels = static_cast<int32_t>(c.c_out);
    g.rows = static_cast<int32_t>(c.c_in);
    g.channels_per_group = static_cast<int32_t>(c.c_out_group());
    g.rows_per_group = static_cast<int32_t>(c.c_in_group());
    g.height = static_cast<int32_t>(c.h_in);
    g.width = static_cast<int32_t>(c.w_in);
    g.input_height = static_cast<int32_t>(c.h_out);
    g.input_width = static_cast<int32_t>(c.w_out);
    g.step_h = static_cast<int32_t>(c.stride_h);
    g.step_w = static_cast<int32_t>(c.stride_w);
    g.input_step = 1;
    // Input pixel y takes output pixel (y + pad - tap) / stride where that is whole. With y + pad = stride *
    // (q + i) + phase, the taps of one phase read output rows q + i - tap / stride.
    const int64_t q_h = c.pad_top / c.stride_h, q_w = c.pad_left / c.stride_w;
    g.origin_h = static_cast<int32_t>(q_h * c.stride_h - c.pad_top);
    g.origin_w = static_cast<int32_t>(q_w * c.stride_w - c.pad_left);
    g.halo_h = static_cast<int32_t>((c.kh - 1) * c.dilation_h / c.stride_h);
    g.halo_w = static_cast<int32_t>((c.kw - 1) * c.dilation_w / c.stride_w);
    const int64_t rows = (c.h_in - 1 + c.pad_top) / c.stride_h - q_h + 1 + g.halo_h,
                  columns = (c.w_in - 1 + c.pad_left) / c.stride_w - q_w + 1 + g.halo_w;
    g.input = {static_cast<int32_t>(q_h - g.halo_h), static_cast<int32_t>(rows),
               static_cast<int32_t>(q_w - g.halo_w), static_cast<int32_t>(columns), 1};
    g.in_place = g.input.row_first == 0 && g.input.column_first == 0 && rows <= c.h_out && columns == c.w_out;
    if (g.in_place) g.input.rows = static_cast<int32_t>(c.h_out);
    return checked(g);
}

}  // namespace sparsefit::cuda
