// What a kernel is told: sizes, strides in elements, raw pointers. Checked by the caller, in Python.
#pragma once
#include <array>
#include <cstdint>

namespace sparsefit {

// The widest blocked layout: images whose values lie side by side, one per vector lane.
constexpr int kLanes = 16;

// Sizes of one convolution; a linear layer is a 1x1 convolution on 1x1 pixels.
struct Conv {
    int64_t n, c_in, h_in, w_in, c_out, h_out, w_out, kh, kw;
    int64_t stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, dilation_h = 1, dilation_w = 1, groups = 1;

    int64_t c_in_group() const { return c_in / groups; }
    int64_t c_out_group() const { return c_out / groups; }
    int64_t taps() const { return kh * kw; }
};

// A tensor (N, C, H, W): lanes == 0 means any four strides, otherwise (ceil(N / lanes), C, H, W, lanes), with
// `border` rows and columns of zeros stored around each image: H and W grow by twice as many.
struct Operand {
    float* data;
    std::array<int64_t, 4> strides;
    int lanes;
    int64_t border = 0;
};

// What is done to the numbers of a pass before they are stored: v = gate(v + before) + after, where gate
// leaves 0 of what has no positive number beside it. All have the layout of the output; `before` may have
// fewer channels, and adds nothing to the others, or more. Null: left out.
struct Finish {
    const float* before;
    int64_t before_channels;
    bool means;  // `before` is the gradient of means of 2 x 2 pixels: half as high and wide, a quarter counts
    const float *gate, *after;
    float* rectified;  // where max(v, 0) goes, besides v
};

// An operand as the kernels see it: lane i of block b is image kLanes * b + i.
struct View {
    float* data;
    int64_t block, channel, row, column, lane;  // strides
    int64_t blocks, channels, height, width, n;
    int64_t border;      // rows and columns of zeros in memory around each image
    int stored_lanes;    // lanes in memory, used or not, of a blocked operand; 0 for a strided one
    bool whole_vectors;  // whether every vector is kLanes adjacent floats

    float* at(int64_t b, int64_t c, int64_t y, int64_t x) const {
        return data + b * block + c * channel + y * row + x * column;
    }
    // The pixel (0, 0) of another tensor of this layout.
    template <class T>
    T* beside(T* tensor) const {
        return tensor + border * (row + column);
    }
    // Lanes of block b that hold an image.
    int lanes(int64_t b) const {
        const int64_t rest = n - kLanes * b;
        return rest < kLanes ? static_cast<int>(rest) : kLanes;
    }
};

View view(const Operand& operand, int64_t n, int64_t channels, int64_t height, int64_t width);

}  // namespace sparsefit
