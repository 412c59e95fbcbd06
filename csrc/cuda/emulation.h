// Runs kernel source on the CPU, for tests: the dialect that launch.h describes, as C++17.
//
// A kernel that runs without a fault has, for the sizes tried: every global and shared access within its
// array and aligned; no shared memory read before it was written, or accessed by two threads without a
// barrier between; every barrier and warp operation reached by all the threads that it names. What it cannot
// show: speed, races on global memory (compare results over order_seed), and what a GPU's memory model allows
// beyond barriers.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <string>

#include "cuda/emulation/block.h"
#include "cuda/emulation/global.h"
#include "cuda/emulation/shared.h"
#include "cuda/emulation/types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

using std::max;
using std::min;

namespace sparsefit::emulation {

// What the arrays that a block declares may take on any GPU.
constexpr std::size_t kSharedPerBlock = 48 * 1024;

// Shared memory of the launch that runs now, by declaration.
inline std::map<const void*, Segment> shared_arrays;

template <class T>
Shared<T> shared_array(const void* declaration, std::int64_t count, const char* name) {
    auto found = shared_arrays.find(declaration);
    if (found == shared_arrays.end()) {
        found = shared_arrays.try_emplace(declaration, name, count * sizeof(T)).first;
        found->second.poison();
        std::size_t bytes = 0;
        for (const auto& entry : shared_arrays) bytes += entry.second.size();
        if (bytes > kSharedPerBlock) fault("too much shared memory: " + std::to_string(bytes) + " bytes");
    }
    return {&found->second, count};
}

// Runs only so many blocks at each end of a grid, if not 0: for operands too large to fill.
inline std::uint64_t edge_blocks = 0;

// Runs the blocks of a launch, in shuffled order. Throws Fault.
inline void run(const char* kernel, dim3 grid, dim3 block, const std::function<void()>& body) {
    const auto refuse = [&](const std::string& what) { throw Fault(std::string(kernel) + ": " + what); };
    const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
    if (threads < 1 || threads > 1024) refuse("a block of " + std::to_string(threads) + " threads");
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        refuse("a grid that no GPU can launch");
    gridDim = grid;
    blockDim = block;
    shared_arrays.clear();
    Block runner(kernel, static_cast<int>(threads), body);
    std::mt19937_64 random(order_seed);
    const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
    const bool all = edge_blocks == 0 || blocks <= 2 * edge_blocks;
    std::vector<std::uint64_t> order(all ? blocks : 2 * edge_blocks);
    std::iota(order.begin(), order.end(), 0);
    if (!all) std::iota(order.begin() + edge_blocks, order.end(), blocks - edge_blocks);
    if (order_seed != 0) std::shuffle(order.begin(), order.end(), random);
    for (const std::uint64_t i : order) {
        blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                    static_cast<unsigned>(i / grid.x / grid.y)};
        for (auto& entry : shared_arrays) entry.second.poison();
        runner.run(random);
    }
}

inline float4 load4(const Global<const float>& p) {
    float4 value;
    std::memcpy(&value, p.address(0, 4), sizeof value);
    return value;
}
inline void store4(const Global<float>& p, float4 value) {
    std::memcpy(p.address(0, 4), &value, sizeof value);
}
template <class T>
std::remove_const_t<T> load(const Global<T>& p) {
    return *p;
}

inline float4 load4(const Shared<const float>& p) { return p.segment().read<float4>(p.byte(0, 4, 16)); }
inline void store4(const Shared<float>& p, float4 value) { p.segment().write(p.byte(0, 4, 16), value); }

inline void meet_warp(unsigned mask, const Call& call) {
    if (!(mask >> Block::self->lane() & 1)) fault(call.text() + " with a mask that leaves out its own lane");
    Block::self->mask = mask;
    Block::wait(Doing::kWarpOperation, call);
}

template <class T>
T shuffle(unsigned mask, T value, int source, const Call& call) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    Thread& self = *Block::self;
    self.value = 0;
    std::memcpy(&self.value, &value, sizeof(T));
    self.vote = self.orders = false;
    self.source = source;
    meet_warp(mask, call);
    std::memcpy(&value, &self.result, sizeof(T));
    return value;
}

inline unsigned ballot(unsigned mask, bool vote, bool orders, const Call& call) {
    Block::self->value = vote;
    Block::self->vote = true;
    Block::self->orders = orders;
    meet_warp(mask, call);
    return static_cast<unsigned>(Block::self->result);
}

}  // namespace sparsefit::emulation

#define SHARED_ARRAY(type, name, count)                                                           \
    const ::sparsefit::emulation::Shared<type> name = ::sparsefit::emulation::shared_array<type>( \
        [] {                                                                                      \
            static const char declaration = 0;                                                    \
            return &declaration;                                                                  \
        }(),                                                                                      \
        count, #name)

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    using namespace sparsefit::emulation;
    Block::self->mask = 0;
    Block::wait(Doing::kBlockBarrier, {"__syncthreads", file, line});
}

inline void __syncwarp(unsigned mask = ~0u, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
    sparsefit::emulation::ballot(mask, false, true, {"__syncwarp", file, line});
}

inline unsigned __ballot_sync(unsigned mask, int vote, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
    return sparsefit::emulation::ballot(mask, vote != 0, false, {"__ballot_sync", file, line});
}

inline int __all_sync(unsigned mask, int vote, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
    return sparsefit::emulation::ballot(mask, vote != 0, false, {"__all_sync", file, line}) == mask;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
    const int lane = sparsefit::emulation::Block::self->lane();
    return sparsefit::emulation::shuffle(mask, value, lane / width * width + (source & (width - 1)),
                                         {"__shfl_sync", file, line});
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
    const int lane = sparsefit::emulation::Block::self->lane(), source = lane ^ bits;
    // As on the GPU: a lane may read an earlier group, and itself instead of a later one.
    return sparsefit::emulation::shuffle(mask, value, source / width > lane / width ? lane : source,
                                         {"__shfl_xor_sync", file, line});
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
