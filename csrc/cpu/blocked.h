// Operations on blocked tensors (ceil(n / lanes), channels, height, width, lanes): sizes, and a row of
// kernels. Lanes past n hold zeros on input, and are written as zeros. A border of zeros around each image
// may be part of the tensor.
#pragma once
#include <cstdint>
#include "params.h"

namespace sparsefit {

struct Blocked {
    int64_t n, channels, height, width;
    int lanes;  // 1, 2, 4, 8 or 16
    int64_t border = 0;

    int64_t blocks() const { return (n + lanes - 1) / lanes; }
    int64_t pixels() const { return height * width; }
    int64_t pitch() const { return width + 2 * border; }  // pixels from row to row
    int64_t plane() const {
        return (height + 2 * border) * pitch() * lanes;
    }  // floats of one channel of one block
    int64_t origin() const { return border * (pitch() + 1) * lanes; }  // of the image in its plane
    int64_t planes() const { return blocks() * channels; }
    int64_t floats() const { return planes() * plane(); }
    // Lanes of a block that hold an image.
    int images(int64_t block) const {
        const int64_t rest = n - block * lanes;
        return rest < lanes ? static_cast<int>(rest) : lanes;
    }
};

// Windows of at most 256 pixels; what lies outside the image is no candidate for a maximum.
struct Pool {
    int64_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, h_out, w_out;
    int64_t border = 0;  // of the output

    int64_t pitch() const { return w_out + 2 * border; }
    int64_t plane() const { return (h_out + 2 * border) * pitch(); }  // pixels of one channel of one block
    int64_t at(int64_t y, int64_t x) const { return (y + border) * pitch() + x + border; }

    bool overlaps() const { return stride_h < kernel_h || stride_w < kernel_w; }
};

// The blocked output of a convolution.
inline Blocked output_of(const Conv& conv, const Operand& output) {
    return {conv.n, conv.c_out, conv.h_out, conv.w_out, output.lanes, output.border};
}

// Bias, ReLU and max-pooling behind a convolution, of its blocked output; see BlockedKernels. The gradient to
// the output is for the way back.
struct Pooling {
    Pool pool;
    const float* bias;
    float* output;
    uint8_t* places;  // may be null in a forward pass
    const float* grad_output;
    float* grad_bias;
};

// `shape` is always that of the input. Addresses that may be null: bias, grad_bias, places.
struct BlockedKernels {
    void (*to_blocked)(const Blocked& shape, const Operand& input, float* output, int threads);
    void (*from_blocked)(const Blocked& shape, const float* input, const Operand& output, int threads);
    void (*relu_backward)(const Blocked& shape, const float* output, const float* grad_output,
                          float* grad_input, int threads);
    void (*max_pool)(const Blocked& shape, const Pool& pool, const float* input, float* output,
                     uint8_t* places, int threads);
    void (*max_pool_backward)(const Blocked& shape, const Pool& pool, const float* grad_output,
                              const uint8_t* places, float* grad_input, int threads);
    void (*bias_relu_max_pool)(const Blocked& shape, const Pool& pool, const float* input, const float* bias,
                               float* output, uint8_t* places, int threads);
    void (*bias_relu_max_pool_backward)(const Blocked& shape, const Pool& pool, const float* output,
                                        const float* grad_output, const uint8_t* places, float* grad_input,
                                        float* grad_bias, int threads);
    void (*average_pool)(const Blocked& shape, const Pool& pool, const float* input, float* output,
                         int threads);
    void (*average_pool_backward)(const Blocked& shape, const Pool& pool, const float* grad_output,
                                  float* grad_input, int threads);
    void (*global_average_pool)(const Blocked& shape, const float* input, float* output, int threads);
    void (*global_average_pool_backward)(const Blocked& shape, const float* grad_output, float* grad_input,
                                         int threads);
};

}  // namespace sparsefit
