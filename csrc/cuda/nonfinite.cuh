// Infinities and NaN among the operands. The kernels multiply the zeros that are staged around an image,
// which changes nothing unless the other factor is an infinity or NaN: 0 * inf = NaN, where no product should
// be. So a warp that met such a weight, or got such a gradient to a weight, computes again what may be
// spoilt, from the products that exist and in the same order. Where all is finite, this costs a vote.
#pragma once
#include "cuda/item.cuh"

namespace sparsefit::cuda {

__device__ __forceinline__ bool is_finite(float x) { return x * 0.0f == 0.0f; }

// Whether the input of a tap of an item lies in the image, and not around it.
template <bool TRANSPOSED>
__device__ bool meets_image(const Gather& g, const Tap& tap, const Item& item) {
    const int32_t y = tap.y, x = tap.x;
    const int32_t row = g.input.row_first +
                        (TRANSPOSED ? item.i + g.halo_h - y / g.step_h : item.i * g.input_step + y),
                  column = g.input.column_first +
                           (TRANSPOSED ? item.j + g.halo_w - x / g.step_w : item.j * g.input.phases + x);
    return row >= 0 && row < g.input_height && column >= 0 && column < g.input_width;
}

// Stores an item of a gather again if it may have met a staged zero.
template <bool TRANSPOSED>
__device__ void mend_item(const Gather& g, const Arrays& a, const PixelClass& pixels, int32_t row,
                          const Item& item) {
    // The first and the last tap lie furthest apart.
    if (meets_image<TRANSPOSED>(g, Tap(g, 0), item) && meets_image<TRANSPOSED>(g, Tap(g, g.taps - 1), item))
        return;
    const Global<const float> input = a.input + item.input(g, row / g.rows_per_group * g.channels_per_group);
    const float bias = a.bias ? load(a.bias + row) : 0.0f;
    float4 sum = make_float4(bias, bias, bias, bias);
    const int32_t end = load(a.rows + (row + 1));
#pragma unroll 1
    for (int32_t i = load(a.rows + row); i < end; ++i) {
        const Tap tap(g, load(a.places + i));
        if (tap.serves<TRANSPOSED>(g, pixels) && meets_image<TRANSPOSED>(g, tap, item))
            add_product(sum, value_of<TRANSPOSED>(a, i),
                        load4(input + int64_t{tap.offset<TRANSPOSED>(g)} * g.lanes()));
    }
    store4(a.output + item.output(g, row, pixels),
           keep_images(sum, g.n - (item.block * g.lanes() + 4 * item.quad)));
}

// Part of a thread in the gradient to a kept weight: over every kWarp-th item from `first`.
template <class Dot>
__device__ float dot_of_image(const Gather& g, const Dot& a, const Tap& tap, int32_t row, int32_t channel,
                              int32_t first, int32_t past) {
    float sum = 0;
#pragma unroll 1
    for (int32_t index = first; index < past; index += kWarp) {
        const Item item(g, {0, 0, g.height}, {0, 0, g.width}, index);
        if (!meets_image<false>(g, tap, item)) continue;
        const float4 x =
            load4(a.input + (item.input(g, channel) + int64_t{tap.offset<false>(g)} * g.lanes()));
        sum = add_dot(sum, load4(a.grad + item.output(g, row, item.i, item.j)), x);
    }
    return sum;
}

}  // namespace sparsefit::cuda
