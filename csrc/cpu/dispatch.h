// The table of kernels, one row per instruction set.
#pragma once
#include "cpu/blocked.h"
#include "packed.h"
#include "params.h"

namespace sparsefit {

// output = convolution(input, values) + bias (0: none), finished unless `finish` is null, then rectified;
// every element is written. With a pooling, which is of a blocked output without the others, what remains in
// `output` is unspecified.
using Forward = void (*)(const Conv&, const Operand& input, const float* values, const float* bias,
                         const Pattern&, const Operand& output, bool relu, const Finish* finish,
                         const Pooling* pooling, int threads);
using BackwardInput = void (*)(const Conv&, const Operand& grad_output, const float* values, const Pattern&,
                               const Operand& grad_input, const Finish* finish, int threads);
// grad_bias may be null. With a pooling the gradient to the output follows from it, and what remains in
// `grad_output` is unspecified; the gradient of the bias goes where the pooling says.
using BackwardWeight = void (*)(const Conv&, const Operand& input, const Operand& grad_output, const Pattern&,
                                float* grad_values, float* grad_bias, const Pooling* pooling, int threads);
// Finishes and rectifies an output that holds the sums alone; it is blocked.
using FinishPass = void (*)(const View& output, const Finish&, bool relu, int threads);
// GFLOP/s of fused multiply-adds of one thread, on registers alone or with one factor from L1, measured over
// about this many seconds.
using FmaPeak = double (*)(double seconds, bool from_memory);

struct Kernels {
    const char* isa;
    Forward forward;
    BackwardInput backward_input;
    BackwardWeight backward_weight;
    FinishPass finish;
    FmaPeak fma_peak;
    BlockedKernels blocked;
};

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kernels__avx512;
}
namespace avx2 {
extern const Kernels kernels__avx2;
}
#endif
namespace portable {
extern const Kernels kernels__portable;
}

// The row of the instruction set in use.
const Kernels& kernels();

}  // namespace sparsefit
