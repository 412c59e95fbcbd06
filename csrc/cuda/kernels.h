// What the CUDA half of the core can do: each function queues kernels on a stream and returns. Free of CUDA
// headers. Operands are device addresses; a blocked one has 4, 8 or 16 lanes and both operands of a
// convolution are blocked alike. Failures are CudaErrors that name the kernel.
#pragma once
#include <cstdint>

#include "packed.h"
#include "params.h"

namespace sparsefit::cuda {

// Where to run: a device and a cudaStream_t of it. `scratch` is memory for the call, as many floats as
// *_scratch says, which must live until the stream has passed the call.
struct Where {
    int device;
    void* stream;
    float* scratch;
};

int64_t forward_scratch(const Conv&, const Operand& input, const Operand& output);
void forward(const Conv&, const Operand& input, const float* values, const float* bias, const Pattern&,
             const Operand& output, const Where&);

int64_t backward_input_scratch(const Conv&, const Operand& grad_output, const Operand& grad_input);
void backward_input(const Conv&, const Operand& grad_output, const float* values, const Pattern&,
                    const Operand& grad_input, const Where&);

// grad_bias may be null.
int64_t backward_weight_scratch(const Conv&, const Operand& input, const Operand& grad_output, int64_t nnz,
                                bool with_bias);
void backward_weight(const Conv&, const Operand& input, const Operand& grad_output, const Pattern&,
                     float* grad_values, float* grad_bias, const Where&);

// Between (N, C, H, W) of any strides and blocks of 4, 8 or 16 lanes.
struct Sizes {
    int64_t n, channels, height, width;
};
void to_blocked(const Sizes&, const Operand& strided, const Operand& blocked, const Where&);
void from_blocked(const Sizes&, const Operand& blocked, const Operand& strided, const Where&);

}  // namespace sparsefit::cuda
