// A launch that fails on every machine, for want of a driver or for its 2048 threads: prints what it throws.
// Run by tests/cuda/test_launches.py.
#include <cstdio>

#include "cuda/launch.h"

using namespace sparsefit::cuda;

namespace {

__global__ void named(Global<float> x) { x[0] = 0; }

}  // namespace

int main() {
    try {
        launch({"the_kernel", dim3(1), dim3(2048)}, nullptr, named, global<float>(nullptr, 0, "x"));
    } catch (const CudaError& error) {
        std::puts(error.what());
        return 0;
    }
    return 1;
}
