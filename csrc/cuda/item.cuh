// What a thread computes, and where its operands lie: an item is the float4 of four images at one pixel.
#pragma once
#include "cuda/gather.h"
#include "cuda/launch.h"

namespace sparsefit::cuda {

constexpr unsigned kAllLanes = ~0u;

// What a gather reads and writes: the arrays of one direction of the pattern, and the operands.
struct Arrays {
    Global<const int32_t> rows, places, permutation, order;
    Global<const float> values, bias, input;
    Global<float> output;
};

// Pixels of one class along an axis: i runs over [from, from + count), pixel i is first + step * i of the
// output.
struct AxisClass {
    int32_t first, from, count;
};

__device__ __forceinline__ AxisClass axis_class(int32_t first, int32_t step, int32_t size) {
    const int32_t from = first < 0 ? (step - 1 - first) / step : 0;
    const int32_t to = first < size ? (size - first + step - 1) / step : 0;
    return {first, from, to > from ? to - from : 0};
}

// Output pixels that share their taps: those of one phase of the strides.
struct PixelClass {
    int32_t phase_h, phase_w;
    AxisClass rows, columns;
    __device__ PixelClass(const Gather& g, int32_t index)
        : phase_h(index / g.step_w),
          phase_w(index % g.step_w),
          rows(axis_class(g.origin_h + phase_h, g.step_h, g.height)),
          columns(axis_class(g.origin_w + phase_w, g.step_w, g.width)) {}
    __device__ int32_t items(const Gather& g) const {
        return g.blocks * (rows.count * columns.count) * g.quads;
    }
};

// Where a place of the pattern, (channel, ky, kx) in one number, finds its input.
struct Tap {
    uint32_t channel, y, x;  // y, x: dilated
    __device__ Tap(const Gather& g, uint32_t place) {
        const uint32_t taps = g.taps, kw = g.kw, tap = place % taps;
        channel = place / taps;
        y = tap / kw * g.dilation_h;
        x = tap % kw * g.dilation_w;
    }
    // Staged pixels from the input of tap (0, 0) to its own.
    template <bool TRANSPOSED>
    __device__ uint32_t offset(const Gather& g) const {
        const uint32_t step_h = g.step_h, step_w = g.step_w, columns = g.input.columns,
                       phases = g.input.phases;
        return TRANSPOSED ? at(g, g.halo_h - y / step_h, g.halo_w - x / step_w)
                          : at(g, y, x % phases * columns + x / phases);
    }
    // Whether it serves the pixels of a class.
    template <bool TRANSPOSED>
    __device__ bool serves(const Gather& g, const PixelClass& pixels) const {
        const uint32_t step_h = g.step_h, step_w = g.step_w, phase_h = pixels.phase_h,
                       phase_w = pixels.phase_w;
        return !TRANSPOSED || (y % step_h == phase_h && x % step_w == phase_w);
    }

  private:
    __device__ uint32_t at(const Gather& g, uint32_t row, uint32_t column) const {
        return channel * static_cast<uint32_t>(g.input.pixels()) + row * g.input.row_pitch() + column;
    }
};

// Value of kept weight i of a direction.
template <bool TRANSPOSED>
__device__ __forceinline__ float value_of(const Arrays& a, int32_t i) {
    return load(a.values + (TRANSPOSED ? load(a.permutation + i) : i));
}

// One float4 of a channel: which images, and which pixel of its class.
struct Item {
    int32_t block, quad, i, j;
    __device__ Item(const Gather& g, const AxisClass& rows, const AxisClass& columns, int32_t index) {
        const uint32_t u = index, quads = g.quads, width = columns.count, pixels = rows.count * width;
        const uint32_t pixel = u / quads, rest = pixel % pixels;
        quad = u % quads;
        block = pixel / pixels;
        i = rows.from + rest / width;
        j = columns.from + rest % width;
    }
    // Of tap (0, 0) in the staged input, in floats; `channel`: the first one of the group.
    __device__ int64_t input(const Gather& g, int32_t channel) const {
        const int64_t plane = int64_t{block} * g.channels + channel;
        return (plane * g.input.pixels() + i * g.input_step * g.input.row_pitch() + j) * g.lanes() + 4 * quad;
    }
    // Of pixel (y, x) of the output or its gradient, in floats.
    __device__ int64_t output(const Gather& g, int32_t row, int32_t y, int32_t x) const {
        const int64_t plane = int64_t{block} * g.rows + row;
        return (plane * (g.height * g.width) + y * g.width + x) * g.lanes() + 4 * quad;
    }
    __device__ int64_t output(const Gather& g, int32_t row, const PixelClass& pixels) const {
        return output(g, row, pixels.rows.first + i * g.step_h, pixels.columns.first + j * g.step_w);
    }
};

__device__ __forceinline__ void add_product(float4& sum, float value, const float4& x) {
    sum.x = fmaf(value, x.x, sum.x);
    sum.y = fmaf(value, x.y, sum.y);
    sum.z = fmaf(value, x.z, sum.z);
    sum.w = fmaf(value, x.w, sum.w);
}

__device__ __forceinline__ float add_dot(float sum, const float4& a, const float4& b) {
    sum = fmaf(a.x, b.x, sum);
    sum = fmaf(a.y, b.y, sum);
    sum = fmaf(a.z, b.z, sum);
    return fmaf(a.w, b.w, sum);
}

// Zero where a lane holds no image.
__device__ __forceinline__ float4 keep_images(float4 value, int32_t images) {
    return make_float4(images > 0 ? value.x : 0.0f, images > 1 ? value.y : 0.0f, images > 2 ? value.z : 0.0f,
                       images > 3 ? value.w : 0.0f);
}

}  // namespace sparsefit::cuda
