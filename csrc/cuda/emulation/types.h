// The built-in types and variables of CUDA C++ that kernels use.
#pragma once

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// Those of the thread that runs now; emulation/block.h sets them.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
