// Gradient to the kept weights: for each the dot product of the gradient of its output channel with its
// shifted input, over all images and pixels (a sampled dense-dense product).
//
// A warp takes one output channel and a slice of the items (the float4 of four images at one pixel). E kept
// weights share each load of the gradient: a weight costs one load of 16 bytes and 4 multiply-adds a thread
// and item. The E sums of a thread are added over the warp in registers, 9 exchanges for 8 weights, and
// written to scratch memory, a row of it for each slice; sum_slices adds the rows in their order. So nothing
// is added atomically, and the bits depend on the sizes of the layer alone.
#include "cuda/conv.h"
#include "cuda/tile.cuh"

namespace sparsefit::cuda {
namespace {

constexpr int kSumThreads = 256;

// How the work of a layer is cut.
struct Cut {
    int32_t slices, slice_items;  // of the items
    int32_t parts;                // of the groups of kept weights of a row
    int32_t row_blocks;
};

struct DotArrays {
    Global<const int32_t> rows, places, order;
    Global<const float> input, grad;
    Global<float> grad_values, grad_bias;  // of slice 0; empty grad_bias: not wanted
    int64_t value_pitch, bias_pitch;       // from slice to slice
};

// Adds E sums of each thread over the warp; thread t gets that of weight t / (kWarp / E).
template <int E>
__device__ __forceinline__ float warp_sum(float (&sums)[E], int lane) {
    int distance = kWarp / 2;
#pragma unroll
    for (int half = E / 2; half >= 1; half /= 2, distance /= 2) {
        const bool upper = lane & distance;
#pragma unroll
        for (int k = 0; k < half; ++k) {
            const float keep = upper ? sums[k + half] : sums[k], give = upper ? sums[k] : sums[k + half];
            sums[k] = keep + __shfl_xor_sync(kAllLanes, give, distance);
        }
    }
    for (; distance >= 1; distance /= 2) sums[0] += __shfl_xor_sync(kAllLanes, sums[0], distance);
    return sums[0];
}

// The items of a thread, a warp's width apart. The next one is reached by adding: dividing each time took
// more instructions than the products.
class Walk {
  public:
    __device__ Walk(const Gather& g, int32_t index) : item_(g, {0, 0, g.height}, {0, 0, g.width}, index) {
        const int32_t step = kWarp / g.quads, step_rows = step / g.width;
        step_block_ = step_rows / g.height;
        step_i_ = step_rows % g.height;
        step_j_ = step % g.width;
    }
    __device__ void advance(const Gather& g) {
        item_.j += step_j_;
        const bool next_row = item_.j >= g.width;
        item_.j -= next_row ? g.width : 0;
        item_.i += step_i_ + next_row;
        const bool next_block = item_.i >= g.height;
        item_.i -= next_block ? g.height : 0;
        item_.block += step_block_ + next_block;
    }
    __device__ const Item& item() const { return item_; }

  private:
    Item item_;
    int32_t step_block_, step_i_, step_j_;
};

template <int E>
__global__ void __launch_bounds__(kRowThreads, 1)
    sparse_conv2d_backward_weight(Gather g, DotArrays a, Cut cut) {
    const int32_t lane = threadIdx.x, position = blockIdx.x % cut.row_blocks * blockDim.y + threadIdx.y;
    if (position >= g.rows) return;
    const int32_t row = load(a.order + position), slice = blockIdx.x / cut.row_blocks;
    const int32_t first = slice * cut.slice_items, items = g.blocks * g.height * g.width * g.quads;
    const int32_t past = min(first + cut.slice_items, items);
    const int32_t channel = row / g.rows_per_group * g.channels_per_group;

    const int32_t begin = load(a.rows + row), count = load(a.rows + (row + 1)) - begin;
    // Groups of about equal size: a last one of a single weight would read the gradient for itself.
    const int32_t groups = (count + E - 1) / E, group_size = groups ? (count + groups - 1) / groups : 0;
    for (int32_t group = blockIdx.y; group < groups; group += cut.parts) {
        const int32_t start = begin + group * group_size, size = min(group_size, begin + count - start);
        // A thread lays one weight out and hands it to the others; those behind the last repeat it.
        const uint32_t mine = Tap(g, load(a.places + (start + min(lane, size - 1)))).offset<false>(g);
        uint32_t offsets[E];
        float sums[E];
#pragma unroll
        for (int e = 0; e < E; ++e) {
            offsets[e] = __shfl_sync(kAllLanes, mine, e);
            sums[e] = 0.0f;
        }
        Walk walk(g, first + lane);
#pragma unroll 1
        for (int32_t index = first + lane; index < past; index += kWarp, walk.advance(g)) {
            const Item& item = walk.item();
            const float4 grad = load4(a.grad + item.output(g, row, item.i, item.j));
            const Global<const float> input = a.input + item.input(g, channel);
#pragma unroll
            for (int e = 0; e < E; ++e)
                sums[e] = add_dot(sums[e], grad, load4(input + int64_t{offsets[e]} * g.lanes()));
        }
        const float sum = warp_sum(sums, lane);
        const int32_t e = lane / (kWarp / E);
        const bool stores = lane % (kWarp / E) == 0 && e < size;
        const Global<float> results = a.grad_values + (slice * a.value_pitch + start);
        if (stores) results[e] = sum;
        unsigned spoilt = __ballot_sync(kAllLanes, stores && !is_finite(sum));
#pragma unroll 1
        for (; spoilt; spoilt &= spoilt - 1) {
            const int32_t owner = __ffs(spoilt) - 1;
            const Tap tap(g, load(a.places + (start + owner / (kWarp / E))));
            float again[1] = {dot_of_image(g, a, tap, row, channel, first + lane, past)};
            const float exact = warp_sum(again, lane);
            if (lane == owner) results[e] = exact;
        }
    }

    if (!a.grad_bias || blockIdx.y != 0) return;
    float sum[1] = {0.0f};
    Walk walk(g, first + lane);
    for (int32_t index = first + lane; index < past; index += kWarp, walk.advance(g)) {
        const Item& item = walk.item();
        const float4 grad = load4(a.grad + item.output(g, row, item.i, item.j));
        sum[0] += (grad.x + grad.y) + (grad.z + grad.w);
    }
    const float total = warp_sum(sum, lane);
    if (lane == 0) a.grad_bias[slice * a.bias_pitch + row] = total;
}

// Adds the slices of each number in their order.
__global__ void __launch_bounds__(kSumThreads)
    sum_slices(Global<const float> slices, int32_t count, int64_t size, Global<float> sums) {
    const int64_t i = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
    if (i >= size) return;
    float sum = 0;
    for (int32_t slice = 0; slice < count; ++slice) sum += load(slices + (slice * size + i));
    sums[i] = sum;
}

void add_slices(const float* slices, int32_t count, int64_t size, float* sums, void* stream) {
    if (size == 0) return;
    const Launch how{"sum_slices", make_grid("sum_slices", ceil_div(size, kSumThreads)), dim3(kSumThreads)};
    launch(how, stream, sum_slices, global(slices, count * size, "slices"), count, size,
           global(sums, size, "sums"));
}

// Kept weights that share each load of the gradient; 16 do not fit into the 128 registers that a thread of
// this block can have.
int weights_per_warp(const Gather& g, int64_t nnz) { return ceil_div(nnz, g.rows) <= 4 ? 4 : 8; }

// Slices of at least kSliceSteps rounds of a warp, so that adding its sums up stays a small part of its work;
// then parts of the rows, both only as far as they fill a GPU. Of the sizes alone: the bits depend on it.
constexpr int64_t kSliceSteps = 8;

Cut make_cut(const Gather& g, int64_t nnz) {
    const int64_t steps = ceil_div(g.items(), kWarp);
    const int64_t wanted = std::min(ceil_div(full_warps, g.rows), steps / kSliceSteps);
    const int64_t slice_steps = ceil_div(steps, std::max<int64_t>(wanted, 1));
    const int64_t slices = steps ? ceil_div(steps, slice_steps) : 1;
    const int64_t groups = ceil_div(ceil_div(nnz, g.rows), weights_per_warp(g, nnz));
    const int64_t parts =
        std::clamp<int64_t>(full_warps / (g.rows * slices), 1, std::max<int64_t>(groups, 1));
    return {static_cast<int32_t>(slices), static_cast<int32_t>(slice_steps * kWarp),
            static_cast<int32_t>(parts), static_cast<int32_t>(ceil_div(g.rows, rows_per_block(g)))};
}

Staged whole_gradient(const Gather& g) { return {0, g.height, 0, g.width, 1}; }

}  // namespace

int64_t backward_weight_scratch(const Conv& conv, const Operand& input, const Operand& grad_output,
                                int64_t nnz, bool with_bias) {
    const Gather g = forward_gather(conv, lanes_of(conv, input, grad_output));
    const int32_t slices = g.rows ? make_cut(g, nnz).slices : 1;
    return staging(g, input) + (grad_output.lanes ? 0 : g.output_floats()) +
           (slices > 1 ? slices * (nnz + (with_bias ? g.rows : 0)) : 0);
}

void backward_weight(const Conv& conv, const Operand& input, const Operand& grad_output,
                     const Pattern& pattern, float* grad_values, float* grad_bias, const Where& where) {
    const Gather g = forward_gather(conv, lanes_of(conv, input, grad_output));
    if (g.rows == 0) return;
    const DeviceGuard guard(where.device);
    const char* const name = "sparse_conv2d_backward_weight";
    float* scratch = where.scratch;
    const Global<const float> x = staged_input(g, input, scratch, where.stream);
    scratch += staging(g, input);
    const float* grad = grad_output.data;
    if (!grad_output.lanes) {
        stage(whole_gradient(g), g.n, g.rows, g.height, g.width, g.lanes(), grad_output, scratch,
              where.stream);
        grad = scratch;
        scratch += g.output_floats();
    }
    const Cut cut = make_cut(g, pattern.nnz);
    const bool sliced = cut.slices > 1;
    const int64_t values = cut.slices * pattern.nnz, biases = grad_bias ? cut.slices * int64_t{g.rows} : 0;
    const DotArrays arrays{
        global(pattern.rows, g.rows + 1, "rows"),
        global(pattern.places, pattern.nnz, "places"),
        global(pattern.order, g.rows, "order"),
        x,
        global(grad, g.output_floats(), "gradient"),
        global(sliced ? scratch : grad_values, values, "gradient to the values"),
        global(sliced && grad_bias ? scratch + values : grad_bias, biases, "gradient to the bias"),
        sliced ? pattern.nnz : 0,
        sliced ? g.rows : 0};
    const int rows = rows_per_block(g), weights = weights_per_warp(g, pattern.nnz);
    const Launch how{name, make_grid(name, int64_t{cut.row_blocks} * cut.slices, cut.parts),
                     dim3(kWarp, rows)};
    launch(how, where.stream,
           weights == 4 ? sparse_conv2d_backward_weight<4> : sparse_conv2d_backward_weight<8>, g, arrays,
           cut);
    if (!sliced) return;
    add_slices(scratch, cut.slices, pattern.nnz, grad_values, where.stream);
    if (grad_bias) add_slices(scratch + values, cut.slices, g.rows, grad_bias, where.stream);
}

}  // namespace sparsefit::cuda
