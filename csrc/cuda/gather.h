// A gather convolution as the GPU kernels see it: the common form of forward and backward_input. Host code
// makes it from the sizes of a layer; kernels get it by value.
//
// An output pixel of channel `row` is the sum over the kept weights of that row of value * input[pixel +
// offset]. The input is staged: a blocked copy with its padding, and with the phases of the column stride
// apart, so that neither borders nor strides are left in the kernel; without those it is the operand itself.
#pragma once
#include <cstdint>

#include "cuda/launch.h"
#include "params.h"

namespace sparsefit::cuda {

// Rows and columns of an operand that the copy holds; what lies outside the image is zero. Column x of the
// copy, of phase p, is column_first + phases * x + p of the operand.
struct Staged {
    int32_t row_first, rows, column_first, columns, phases;

    __host__ __device__ int32_t row_pitch() const { return phases * columns; }
    __host__ __device__ int64_t pixels() const { return int64_t{rows} * row_pitch(); }
};

struct Gather {
    int32_t n, blocks, quads;  // quads: float4 of a pixel, lanes / 4
    int32_t channels, rows;    // of the input and of the output
    int32_t channels_per_group, rows_per_group;
    int32_t kw, taps, dilation_h, dilation_w;
    int32_t height, width;              // of the output
    int32_t input_height, input_width;  // without what is staged around it
    // Output pixels fall into step_h * step_w classes with taps of their own. Pixel i of phase p is
    // origin + p + step * i; forward has one class.
    int32_t step_h, step_w, origin_h, origin_w;
    int32_t input_step;      // staged rows from pixel i to i + 1
    int32_t halo_h, halo_w;  // where tap 0 of backward_input lies
    Staged input;
    bool in_place;  // the operand can be read as it is, if it is blocked

    __host__ __device__ int32_t lanes() const { return 4 * quads; }
    int32_t classes() const { return step_h * step_w; }
    // Work of the largest class: a float4 of the output of one row.
    int64_t items() const {
        const int64_t class_rows = (height + step_h - 1) / step_h,
                      class_columns = (width + step_w - 1) / step_w;
        return blocks * class_rows * class_columns * quads;
    }
    int64_t staged_floats() const { return blocks * int64_t{channels} * input.pixels() * lanes(); }
    int64_t output_floats() const { return blocks * int64_t{rows} * height * width * lanes(); }
};

// Lanes of the blocks that a strided batch is brought into.
constexpr int lanes_for(int64_t n) { return n <= 4 ? 4 : n <= 8 ? 8 : 16; }

// CudaError when a size passes what the kernels index with 32 bits.
Gather forward_gather(const Conv&, int lanes);
Gather backward_input_gather(const Conv&, int lanes);

}  // namespace sparsefit::cuda
