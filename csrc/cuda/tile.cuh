// The tile of forward and backward_input: a warp computes one channel of the output for R items a thread, an
// item being the float4 of four images at one pixel. Adjacent threads have adjacent items, so that a load of
// a warp is up to 512 adjacent bytes; sums stay in registers over all kept weights of the channel.
//
// A kept weight costs a warp one broadcast of (value, offset) from shared memory and R loads of 16 bytes a
// thread, for 4 R multiply-adds a thread: what bounds it is the load of one float per multiply-add, 128 bytes
// per clock and multiprocessor (docs/kernels.md). Address arithmetic fits into the issue slots that this
// leaves.
//
// The warps of a block are neighbours in the order of rows by kept weights, so they end together, and they
// walk through the same pixels from channel to channel, so that they share the inputs in L1. Warps do not
// wait for each other.
#pragma once
#include <algorithm>

#include "cuda/gather.h"
#include "cuda/launch.h"
#include "packed.h"

namespace sparsefit::cuda {

constexpr int kMaxWarps = 16;
constexpr int kRowThreads = kMaxWarps * kWarp;
template <int R>
constexpr int kResidentBlocks = R <= 2 ? 2 : 1;  // on a multiprocessor; its registers bound it
constexpr unsigned kAllLanes = ~0u;

// What a gather reads and writes: the arrays of one direction of the pattern, and the operands.
struct Arrays {
    Global<const int32_t> rows, places, permutation, order;
    Global<const float> values, bias, input;
    Global<float> output;
};

// Pixels of one class: i runs over [from, from + count), pixel i is first + step * i of the output.
struct AxisClass {
    int32_t first, from, count;
};

__device__ __forceinline__ AxisClass axis_class(int32_t first, int32_t step, int32_t size) {
    const int32_t from = first < 0 ? (step - 1 - first) / step : 0;
    const int32_t to = first < size ? (size - first + step - 1) / step : 0;
    return {first, from, to > from ? to - from : 0};
}

// A kept weight: its value, and how many staged pixels its input lies behind that of tap (0, 0).
struct alignas(8) Entry {
    float value;
    uint32_t offset;
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
    __device__ uint32_t offset(const Gather& g) const {
        const uint32_t columns = g.input.columns, phases = g.input.phases;
        return at(g, y, x % phases * columns + x / phases);
    }
    __device__ uint32_t offset_transposed(const Gather& g) const {
        const uint32_t step_h = g.step_h, step_w = g.step_w;
        return at(g, g.halo_h - y / step_h, g.halo_w - x / step_w);
    }
    __device__ bool is_of(const Gather& g, uint32_t phase_h, uint32_t phase_w) const {
        const uint32_t step_h = g.step_h, step_w = g.step_w;
        return y % step_h == phase_h && x % step_w == phase_w;
    }

  private:
    __device__ uint32_t at(const Gather& g, uint32_t row, uint32_t column) const {
        return channel * static_cast<uint32_t>(g.input.pixels()) + row * g.input.row_pitch() + column;
    }
};

struct Fetched {
    Entry entry;
    bool is_mine;  // of this class
};

// Kept weight i of a row, laid out for a class.
template <bool TRANSPOSED>
__device__ __forceinline__ Fetched fetch(const Gather& g, const Arrays& a, int32_t phase_h, int32_t phase_w,
                                         int32_t i, int32_t end) {
    if (i >= end) return {{0.0f, 0}, false};
    const Tap tap(g, load(a.places + i));
    if (!TRANSPOSED) return {{load(a.values + i), tap.offset(g)}, true};
    return {{load(a.values + load(a.permutation + i)), tap.offset_transposed(g)},
            tap.is_of(g, phase_h, phase_w)};
}

__device__ __forceinline__ void add_product(float4& sum, float value, const float4& x) {
    sum.x = fmaf(value, x.x, sum.x);
    sum.y = fmaf(value, x.y, sum.y);
    sum.z = fmaf(value, x.z, sum.z);
    sum.w = fmaf(value, x.w, sum.w);
}

// Zero where a lane holds no image.
__device__ __forceinline__ float4 keep_images(float4 value, int32_t images) {
    return make_float4(images > 0 ? value.x : 0.0f, images > 1 ? value.y : 0.0f, images > 2 ? value.z : 0.0f,
                       images > 3 ? value.w : 0.0f);
}

// One float4 of the output of a row: which images, and which pixel of its class.
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
};

// The whole of a kernel; blocks are (row block, fastest; tile of items), classes.
template <int R, bool TRANSPOSED>
__device__ __forceinline__ void gather_tile(const Gather& g, const Arrays& a, int32_t row_blocks) {
    SHARED_ARRAY(Entry, entries, kRowThreads);
    const Shared<Entry> mine = entries + threadIdx.y * kWarp;
    const int32_t lane = threadIdx.x, position = blockIdx.x % row_blocks * blockDim.y + threadIdx.y;
    const int32_t phase_h = blockIdx.y / g.step_w, phase_w = blockIdx.y % g.step_w;
    const AxisClass rows = axis_class(g.origin_h + phase_h, g.step_h, g.height),
                    columns = axis_class(g.origin_w + phase_w, g.step_w, g.width);
    const int32_t pixels = rows.count * columns.count, items = g.blocks * pixels * g.quads;
    const int32_t first_item = blockIdx.x / row_blocks * (R * kWarp);
    if (position >= g.rows || first_item >= items) return;
    const int32_t row = load(a.order + position), group = row / g.rows_per_group;

    Global<const float> inputs[R];
    float4 sums[R];
    const float bias = a.bias ? load(a.bias + row) : 0.0f;
#pragma unroll
    for (int r = 0; r < R; ++r) {
        // Threads behind the last item repeat it, and do not store.
        const Item item(g, rows, columns, min(first_item + r * kWarp + lane, items - 1));
        const int64_t channel = int64_t{item.block} * g.channels + group * g.channels_per_group;
        const int64_t pixel =
            channel * g.input.pixels() + int64_t{item.i} * g.input_step * g.input.row_pitch() + item.j;
        inputs[r] = a.input + (pixel * g.lanes() + 4 * item.quad);
        sums[r] = make_float4(bias, bias, bias, bias);
    }

    const int32_t begin = load(a.rows + row), end = load(a.rows + (row + 1));
    Fetched next = fetch<TRANSPOSED>(g, a, phase_h, phase_w, begin + lane, end);
    for (int32_t at = begin; at < end; at += kWarp) {
        const unsigned kept = __ballot_sync(kAllLanes, next.is_mine);
        if (next.is_mine) mine[__popc(kept & ((1u << lane) - 1))] = next.entry;
        __syncwarp();
        next = fetch<TRANSPOSED>(g, a, phase_h, phase_w, at + kWarp + lane, end);
        const int count = __popc(kept);
// More would hold more loads than there are registers.
#pragma unroll(R == 8 ? 1 : 2)
        for (int k = 0; k < count; ++k) {
            const Entry entry = mine[k];
            const int64_t offset = int64_t{entry.offset} * g.lanes();
#pragma unroll
            for (int r = 0; r < R; ++r) add_product(sums[r], entry.value, load4(inputs[r] + offset));
        }
        __syncwarp();
    }

#pragma unroll
    for (int r = 0; r < R; ++r) {
        const int32_t index = first_item + r * kWarp + lane;
        if (index >= items) continue;
        const Item item(g, rows, columns, index);
        const int64_t y = rows.first + int64_t{item.i} * g.step_h,
                      x = columns.first + int64_t{item.j} * g.step_w;
        const int64_t pixel = ((int64_t{item.block} * g.rows + row) * g.height + y) * g.width + x;
        store4(a.output + (pixel * g.lanes() + 4 * item.quad),
               keep_images(sums[r], g.n - (item.block * g.lanes() + 4 * item.quad)));
    }
}

// Items a thread: as many as leave enough warps to fill a GPU (132 multiprocessors of 32 warps).
inline int64_t full_warps = 4096;  // tests lower it, to see all kernels with little work

inline int items_per_thread(const Gather& g) {
    int r = 8;
    while (r > 1 && ceil_div(g.items(), r * kWarp) * g.rows * g.classes() < full_warps) r /= 2;
    return r;
}

// Warps of a block take one row each.
inline int rows_per_block(const Gather& g) { return std::min(g.rows, kMaxWarps); }

inline Launch gather_launch(const char* kernel, const Gather& g, int r) {
    const int rows = rows_per_block(g);
    return {kernel, make_grid(kernel, ceil_div(g.items(), r * kWarp) * ceil_div(g.rows, rows), g.classes()),
            dim3(kWarp, rows), 0};
}

}  // namespace sparsefit::cuda
