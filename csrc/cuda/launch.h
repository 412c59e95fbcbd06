// The one door between kernel source and the machine that runs it: nvcc and a GPU, or any C++17 compiler and
// cuda/emulation.h. No other file has <<< >>>, and a kernel source includes this header and nothing of CUDA.
//
// The contract, for kernels that must run on both:
//
//   Global<T> x                pointer to global memory, a kernel parameter; x[i], x + i, as a pointer
//   global(data, n, "x")       makes one on the host from an address and its number of elements
//   SHARED_ARRAY(T, s, n)      declares n elements of shared memory, n a constant; 16-byte aligned
//   Shared<T> s                pointer to shared memory, which that makes; s[i], s + i
//   load4(p)                   one 16 byte load from a Global or Shared of float; p is aligned so
//   store4(p, v)               the same for stores
//   load(p)                    one load through the read-only path, from a Global<const T>
//   Launch, launch             a launch as data, so that its arithmetic can be tested, and its execution
//   check(code, what)          a CUDA return code other than success becomes a CudaError
//
// Name the type of what you read from shared memory (`Entry e = s[i]`, not `auto`): emulation returns a
// proxy. An element of shared memory is made of 4-byte words. Every address has one of the two types; a plain
// pointer escapes the checks. Of the dialect, emulation has: __global__ __device__ __host__ __forceinline__
// __launch_bounds__, threadIdx blockIdx blockDim gridDim, dim3 float4 make_float4, __syncthreads __syncwarp,
// __shfl_sync __shfl_xor_sync, __ballot_sync __all_sync, __popc __ffs, fmaf, min, max. Shared memory is
// ordered by __syncthreads and by __syncwarp of a whole warp.
#pragma once
#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "cuda/emulation.h"
#endif

#include <cstdint>
#include <limits>
#include <string>

#include "cuda/error.h"

namespace sparsefit::cuda {

// One launch, but for the kernel's arguments.
struct Launch {
    const char* kernel;  // its name, for errors
    dim3 grid, block;
};

constexpr int64_t kMaxGridX = std::numeric_limits<int32_t>::max(), kMaxGridYZ = 65535;
constexpr int kWarp = 32;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A grid of x * y * z blocks; a CudaError if that is more than a launch can have.
inline dim3 make_grid(const char* kernel, int64_t x, int64_t y = 1, int64_t z = 1) {
    if (x < 1 || y < 1 || z < 1 || x > kMaxGridX || y > kMaxGridYZ || z > kMaxGridYZ)
        throw CudaError(std::string(kernel) + ": a grid of " + std::to_string(x) + " x " + std::to_string(y) +
                        " x " + std::to_string(z) + " blocks; allowed are 1 to 2147483647 x 65535 x 65535");
    return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
}

#ifdef __CUDACC__

template <class T>
using Global = T*;
template <class T>
using Shared = T*;

template <class T>
Global<T> global(T* data, int64_t, const char*) {
    return data;
}

#define SHARED_ARRAY(type, name, count) __shared__ __align__(16) type name[count]

__device__ __forceinline__ float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ __forceinline__ void store4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
template <class T>
__device__ __forceinline__ T load(const T* p) {
    return __ldg(p);
}

inline void check(cudaError_t code, const std::string& what) {
    if (code == cudaSuccess) return;
    cudaGetLastError();  // the runtime keeps it, and the next launch would report it as its own
    throw CudaError(what + ": " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")");
}

// Makes a device current for this scope.
class DeviceGuard {
  public:
    explicit DeviceGuard(int device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        if (device == before_) return;
        check(cudaSetDevice(device), "cudaSetDevice " + std::to_string(device));
        switched_ = true;
    }
    ~DeviceGuard() {
        if (switched_) cudaSetDevice(before_);
    }
    DeviceGuard(const DeviceGuard&) = delete;
    DeviceGuard& operator=(const DeviceGuard&) = delete;

  private:
    int before_ = 0;
    bool switched_ = false;
};

// Queues the kernel on the stream (a cudaStream_t as torch gives it) of the current device; waits for
// nothing.
template <class... Parameters, class... Arguments>
void launch(const Launch& how, void* stream, void (*kernel)(Parameters...), Arguments... arguments) {
    kernel<<<how.grid, how.block, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
    check(cudaGetLastError(), how.kernel);
}

#else

using emulation::Global;
using emulation::global;
using emulation::load;
using emulation::load4;
using emulation::Shared;
using emulation::store4;

class DeviceGuard {
  public:
    explicit DeviceGuard(int) {}
    ~DeviceGuard() {}
};

template <class... Parameters, class... Arguments>
void launch(const Launch& how, void*, void (*kernel)(Parameters...), Arguments... arguments) {
    emulation::run(how.kernel, how.grid, how.block, [&] { kernel(arguments...); });
}

#endif

}  // namespace sparsefit::cuda
