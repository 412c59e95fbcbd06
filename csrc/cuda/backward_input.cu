// Gradient to the input: a row of the transposed pattern is a channel of the input. It gathers, so that every
// element is written once and nothing is added atomically; with a stride, input pixels of one phase share the
// taps that meet them, and a warp drops the others as it stages them. tile.cuh has the idea.
#include "cuda/conv.h"
#include "cuda/tile.cuh"

namespace sparsefit::cuda {
namespace {

template <int R>
__global__ void __launch_bounds__(kRowThreads, kResidentBlocks<R>)
    sparse_conv2d_backward_input(Gather g, Arrays a, int32_t row_blocks) {
    gather_tile<R, true>(g, a, row_blocks);
}

constexpr void (*kKernels[])(Gather, Arrays, int32_t) = {
    sparse_conv2d_backward_input<1>, sparse_conv2d_backward_input<2>, sparse_conv2d_backward_input<4>,
    sparse_conv2d_backward_input<8>};

}  // namespace

int64_t backward_input_scratch(const Conv& conv, const Operand& grad_output, const Operand& grad_input) {
    const Gather g = backward_input_gather(conv, lanes_of(conv, grad_output, grad_input));
    return staging(g, grad_output) + (grad_input.lanes ? 0 : g.output_floats());
}

void backward_input(const Conv& conv, const Operand& grad_output, const float* values, const Pattern& pattern,
                    const Operand& grad_input, const Where& where) {
    const Gather g = backward_input_gather(conv, lanes_of(conv, grad_output, grad_input));
    run_gather("sparse_conv2d_backward_input", kKernels, g, grad_output, grad_input,
               {global(pattern.rows_transposed, g.rows + 1, "rows"),
                global(pattern.places_transposed, pattern.nnz, "places"),
                global(pattern.permutation, pattern.nnz, "permutation"),
                global(pattern.order_transposed, g.rows, "order"),
                global(values, pattern.nnz, "values"),
                {},
                {},
                {}},
               where);
}

}  // namespace sparsefit::cuda
