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

#include "cuda/item.cuh"
#include "cuda/nonfinite.cuh"

namespace sparsefit::cuda {

constexpr int kMaxWarps = 16;
constexpr int kRowThreads = kMaxWarps * kWarp;
template <int R>
constexpr int kResidentBlocks = R <= 2 ? 2 : 1;  // on a multiprocessor; its registers bound it

// A kept weight: its value, and how many staged pixels its input lies behind that of tap (0, 0).
struct alignas(8) Entry {
    float value;
    uint32_t offset;
};

struct Fetched {
    Entry entry;
    bool is_mine;  // of this class
};

// Kept weight i of a row, laid out for a class.
template <bool TRANSPOSED>
__device__ __forceinline__ Fetched fetch(const Gather& g, const Arrays& a, const PixelClass& pixels,
                                         int32_t i, int32_t end) {
    if (i >= end) return {{0.0f, 0}, false};
    const Tap tap(g, load(a.places + i));
    return {{value_of<TRANSPOSED>(a, i), tap.offset<TRANSPOSED>(g)}, tap.serves<TRANSPOSED>(g, pixels)};
}
// The whole of a kernel; blocks are (row block, fastest; tile of items), classes.
template <int R, bool TRANSPOSED>
__device__ __forceinline__ void gather_tile(const Gather& g, const Arrays& a, int32_t row_blocks) {
    SHARED_ARRAY(Entry, entries, kRowThreads);
    const Shared<Entry> mine = entries + threadIdx.y * kWarp;
    const int32_t lane = threadIdx.x, position = blockIdx.x % row_blocks * blockDim.y + threadIdx.y;
    const PixelClass pixels(g, blockIdx.y);
    const int32_t items = pixels.items(g);
    const int32_t first_item = blockIdx.x / row_blocks * (R * kWarp);
    if (position >= g.rows || first_item >= items) return;
    const int32_t row = load(a.order + position), group = row / g.rows_per_group;

    Global<const float> inputs[R];
    float4 sums[R];
    const float bias = a.bias ? load(a.bias + row) : 0.0f;
#pragma unroll
    for (int r = 0; r < R; ++r) {
        // Threads behind the last item repeat it, and do not store.
        const Item item(g, pixels.rows, pixels.columns, min(first_item + r * kWarp + lane, items - 1));
        inputs[r] = a.input + item.input(g, group * g.channels_per_group);
        sums[r] = make_float4(bias, bias, bias, bias);
    }

    const int32_t begin = load(a.rows + row), end = load(a.rows + (row + 1));
    Fetched next = fetch<TRANSPOSED>(g, a, pixels, begin + lane, end);
    bool finite = true;
    for (int32_t at = begin; at < end; at += kWarp) {
        finite &= is_finite(next.entry.value);
        const unsigned kept = __ballot_sync(kAllLanes, next.is_mine);
        if (next.is_mine) mine[__popc(kept & ((1u << lane) - 1))] = next.entry;
        __syncwarp();
        next = fetch<TRANSPOSED>(g, a, pixels, at + kWarp + lane, end);
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
        const Item item(g, pixels.rows, pixels.columns, index);
        store4(a.output + item.output(g, row, pixels),
               keep_images(sums[r], g.n - (item.block * g.lanes() + 4 * item.quad)));
    }
    if (__all_sync(kAllLanes, finite)) return;
#pragma unroll 1
    for (int32_t index = first_item + lane; index < min(first_item + R * kWarp, items); index += kWarp)
        mend_item<TRANSPOSED>(g, a, pixels, row, Item(g, pixels.rows, pixels.columns, index));
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
            dim3(kWarp, rows)};
}

}  // namespace sparsefit::cuda
