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

// The least that a block can have on any GPU since sm_80: sm_86, sm_89 and sm_120 have 99 KiB.
constexpr std::size_t kSharedPerBlock = 99 * 1024, kStaticShared = 48 * 1024;

// Shared memory of the launch that runs now.
struct SharedMemory {
    Segment dynamic{"dynamic_shared", 0};
    std::map<const void*, Segment> arrays;  // by declaration

    std::size_t static_bytes() const {
        return std::accumulate(arrays.begin(), arrays.end(), std::size_t{0},
                               [](std::size_t sum, const auto& entry) { return sum + entry.second.size(); });
    }
};
inline SharedMemory shared_memory;

template <class T>
Shared<T> static_shared(const void* declaration, std::int64_t count, const char* name) {
    auto& arrays = shared_memory.arrays;
    auto found = arrays.find(declaration);
    if (found == arrays.end()) {
        found = arrays.try_emplace(declaration, name, count * sizeof(T)).first;
        found->second.poison();
        const std::size_t bytes = shared_memory.static_bytes();
        if (bytes > kStaticShared || bytes + shared_memory.dynamic.size() > kSharedPerBlock)
            fault("too much shared memory: " + std::to_string(bytes) + " static and " +
                  std::to_string(shared_memory.dynamic.size()) + " dynamic bytes");
    }
    return {&found->second, 0, count};
}

template <class T>
Shared<T> dynamic_shared(std::size_t byte, std::size_t count) {
    if (byte + count * sizeof(T) > shared_memory.dynamic.size())
        fault("out of bounds: dynamic shared memory has " + std::to_string(shared_memory.dynamic.size()) +
              " bytes, an array ends at " + std::to_string(byte + count * sizeof(T)));
    if (byte % alignof(T)) fault("unaligned array at byte " + std::to_string(byte) + " of dynamic_shared");
    return {&shared_memory.dynamic, byte, static_cast<std::int64_t>(count)};
}

// Runs only so many blocks at each end of a grid, if not 0: for operands too large to fill.
inline std::uint64_t edge_blocks = 0;

// Runs the blocks of a launch, in shuffled order. Throws Fault.
inline void run(const char* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                const std::function<void()>& body) {
    const auto refuse = [&](const std::string& what) { throw Fault(std::string(kernel) + ": " + what); };
    const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
    if (threads < 1 || threads > 1024) refuse("a block of " + std::to_string(threads) + " threads");
    if (shared_bytes > kSharedPerBlock) refuse(std::to_string(shared_bytes) + " bytes of shared memory");
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        refuse("a grid that no GPU can launch");
    gridDim = grid;
    blockDim = block;
    shared_memory.dynamic = Segment("dynamic_shared", shared_bytes);
    shared_memory.arrays.clear();
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
        shared_memory.dynamic.poison();
        for (auto& entry : shared_memory.arrays) entry.second.poison();
        runner.run(random);
    }
}

inline float4 load4(const Global<const float>& p) {
    float4 value;
    std::memcpy(&value, p.address(0, 4), sizeof value);
    return value;
}
inline float2 load2(const Global<const float>& p) {
    float2 value;
    std::memcpy(&value, p.address(0, 2), sizeof value);
    return value;
}
inline void store4(const Global<float>& p, float4 value) {
    std::memcpy(p.address(0, 4), &value, sizeof value);
}
inline void store2(const Global<float>& p, float2 value) {
    std::memcpy(p.address(0, 2), &value, sizeof value);
}
template <class T>
std::remove_const_t<T> load(const Global<T>& p) {
    return *p;
}

inline float4 load4(const Shared<const float>& p) { return p.segment().read<float4>(p.byte(0, 4, 16)); }
inline float2 load2(const Shared<const float>& p) { return p.segment().read<float2>(p.byte(0, 2, 8)); }
inline void store4(const Shared<float>& p, float4 value) { p.segment().write(p.byte(0, 4, 16), value); }
inline void store2(const Shared<float>& p, float2 value) { p.segment().write(p.byte(0, 2, 8), value); }

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

#define SHARED_ARRAY(type, name, count)                                                            \
    const ::sparsefit::emulation::Shared<type> name = ::sparsefit::emulation::static_shared<type>( \
        [] {                                                                                       \
            static const char declaration = 0;                                                     \
            return &declaration;                                                                   \
        }(),                                                                                       \
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

inline int __any_sync(unsigned mask, int vote, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
    return sparsefit::emulation::ballot(mask, vote != 0, false, {"__any_sync", file, line}) != 0;
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

template <class T>
T __shfl_down_sync(unsigned mask, T value, int delta, int width = 32, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
    const int lane = sparsefit::emulation::Block::self->lane(), source = lane + delta;
    return sparsefit::emulation::shuffle(mask, value, source / width != lane / width ? lane : source,
                                         {"__shfl_down_sync", file, line});
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, int delta, int width = 32, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
    const int lane = sparsefit::emulation::Block::self->lane();
    return sparsefit::emulation::shuffle(mask, value, delta > lane % width ? lane : lane - delta,
                                         {"__shfl_up_sync", file, line});
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
