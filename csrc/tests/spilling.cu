// A kernel that its launch bounds leave 32 registers for 64 sums: the compile gate must refuse it.
#include "cuda/launch.h"

namespace sparsefit::cuda {

__global__ void __launch_bounds__(512, 4) spilling(Global<const float> x, Global<float> y, int32_t n) {
    float sums[64] = {};
    for (int32_t i = 0; i < n; ++i) {
#pragma unroll
        for (int k = 0; k < 64; ++k) sums[k] = fmaf(x[i], x[64 * i + k], sums[k]);
    }
#pragma unroll
    for (int k = 0; k < 64; ++k) y[64 * threadIdx.x + k] = sums[k];
}

}  // namespace sparsefit::cuda
