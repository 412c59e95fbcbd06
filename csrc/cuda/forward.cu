// Output of a convolution: a row of the pattern is a channel of the output. tile.cuh has the idea.
#include "cuda/conv.h"
#include "cuda/tile.cuh"

namespace sparsefit::cuda {
namespace {

template <int R>
__global__ void __launch_bounds__(kRowThreads, kResidentBlocks<R>)
    sparse_conv2d_forward(Gather g, Arrays a, int32_t row_blocks) {
    gather_tile<R, false>(g, a, row_blocks);
}

constexpr void (*kKernels[])(Gather, Arrays, int32_t) = {sparse_conv2d_forward<1>, sparse_conv2d_forward<2>,
                                                         sparse_conv2d_forward<4>, sparse_conv2d_forward<8>};

}  // namespace

int64_t forward_scratch(const Conv& conv, const Operand& input, const Operand& output) {
    const Gather g = forward_gather(conv, lanes_of(conv, input, output));
    return staging(g, input) + (output.lanes ? 0 : g.output_floats());
}

void forward(const Conv& conv, const Operand& input, const float* values, const float* bias,
             const Pattern& pattern, const Operand& output, const Where& where) {
    const Gather g = forward_gather(conv, lanes_of(conv, input, output));
    run_gather("sparse_conv2d_forward", kKernels, g, input, output,
               {global(pattern.rows, g.rows + 1, "rows"),
                global(pattern.places, pattern.nnz, "places"),
                {},
                global(pattern.order, g.rows, "order"),
                global(values, pattern.nnz, "values"),
                global(bias, bias ? g.rows : 0, "bias"),
                {},
                {}},
               where);
}

}  // namespace sparsefit::cuda
