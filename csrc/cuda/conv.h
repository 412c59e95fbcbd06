// Host half of the passes: which operands are staged where, and the arrays that kernels get.
#pragma once
#include "cuda/convert.h"
#include "cuda/gather.h"
#include "cuda/kernels.h"
#include "cuda/tile.cuh"

namespace sparsefit::cuda {

// Lanes of the blocks in which a convolution runs: those of its blocked operands.
inline int lanes_of(const Conv& c, const Operand& a, const Operand& b) {
    return a.lanes ? a.lanes : b.lanes ? b.lanes : lanes_for(c.n);
}

// Floats of scratch memory for the staged form of the input of a gather.
inline int64_t staging(const Gather& g, const Operand& input) {
    return input.lanes && g.in_place ? 0 : g.staged_floats();
}

// The input as the kernel reads it: staged at `scratch`, or in place.
inline Global<const float> staged_input(const Gather& g, const Operand& input, float* scratch, void* stream) {
    if (staging(g, input) == 0) return global<const float>(input.data, g.staged_floats(), "input");
    stage(g.input, g.n, g.channels, g.input_height, g.input_width, g.lanes(), input, scratch, stream);
    return global<const float>(scratch, g.staged_floats(), "staged input");
}

// A gather from end to end: stage the input, run one of the kernels (1, 2, 4, 8 items a thread), bring the
// result to where the output lies. `arrays` lacks the operands.
using GatherKernel = void (*)(Gather, Arrays, int32_t);
inline void run_gather(const char* name, const GatherKernel (&kernels)[4], const Gather& g,
                       const Operand& input, const Operand& output, Arrays arrays, const Where& where) {
    if (g.items() == 0 || g.rows == 0) return;
    const DeviceGuard guard(where.device);
    arrays.input = staged_input(g, input, where.scratch, where.stream);
    float* const blocks = output.lanes ? output.data : where.scratch + staging(g, input);
    arrays.output = global(blocks, g.output_floats(), "output");
    const int r = items_per_thread(g);
    const int32_t row_blocks = static_cast<int32_t>(ceil_div(g.rows, rows_per_block(g)));
    launch(gather_launch(name, g, r), where.stream, kernels[r == 8 ? 3 : r / 2], g, arrays, row_blocks);
    if (!output.lanes) unstage(g.n, g.rows, g.height, g.width, g.lanes(), blocks, output, where.stream);
}

}  // namespace sparsefit::cuda
