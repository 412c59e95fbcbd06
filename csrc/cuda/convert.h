// Into and out of the staged form that the kernels read and the blocks that they write.
#pragma once
#include "cuda/gather.h"
#include "params.h"

namespace sparsefit::cuda {

// Queues the copy of an operand (n, channels, height, width), blocked with the same lanes or strided, into a
// staged form.
void stage(const Staged&, int64_t n, int64_t channels, int64_t height, int64_t width, int lanes,
           const Operand& operand, float* staged, void* stream);

// Queues the copy of blocks into a strided operand.
void unstage(int64_t n, int64_t channels, int64_t height, int64_t width, int lanes, const float* blocks,
             const Operand& strided, void* stream);

// Floats that an operand spans, from its address to behind its last element.
int64_t span(const Operand&, int64_t n, int64_t channels, int64_t height, int64_t width);

}  // namespace sparsefit::cuda
