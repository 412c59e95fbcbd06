// Kernels that are wrong in one way each, and some that are right: `emulator NAME` runs one. A fault is
// printed and makes the exit code 3. Run by tests/cuda/test_emulator.py.
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cuda/launch.h"

using namespace sparsefit::cuda;
using sparsefit::emulation::Fault;
using sparsefit::emulation::order_seed;
using sparsefit::emulation::run;

namespace {

constexpr unsigned kAll = ~0u;

// One launch of `blocks` blocks of `threads` threads.
void on(int blocks, int threads, const std::function<void()>& body) { run("planted", blocks, threads, body); }

struct Array {
    std::vector<float> data;
    explicit Array(int n) : data(n, 1.0f) {}
    Global<float> pointer() { return global(data.data(), static_cast<int64_t>(data.size()), "array"); }
};

// Each block adds its neighbour's result: defined only if that block ran before.
std::vector<float> chained_blocks(uint64_t seed) {
    Array array(64);
    order_seed = seed;
    const Global<float> x = array.pointer();
    on(64, 1, [&] { x[blockIdx.x] += blockIdx.x ? x[blockIdx.x - 1] : 0.0f; });
    return array.data;
}

std::vector<float> independent_blocks(uint64_t seed) {
    Array array(64);
    order_seed = seed;
    const Global<float> x = array.pointer();
    on(16, 4, [&] { x[4 * blockIdx.x + threadIdx.x] += static_cast<float>(blockIdx.x); });
    return array.data;
}

void require(bool condition, const char* what) {
    if (!condition) throw std::logic_error(what);
}

template <int kThreads>
__global__ void __launch_bounds__(kThreads) reversed(Global<const float> x, Global<float> y) {
    SHARED_ARRAY(float, tile, kThreads);
    SHARED_ARRAY(float, copy, kThreads);
    const int t = threadIdx.x;
    if (t % 4 == 0) store4(tile + t, load4(x + t));
    __syncthreads();
    copy[t] = tile[kThreads - 1 - t];
    __syncwarp();
    y[t] = copy[t];
}

void check_shuffles() {
    std::vector<int> failures;
    on(2, 64, [&] {
        const int lane = threadIdx.x % 32;
        const auto expect = [&](int got, int wanted, int what) {
            if (got != wanted) failures.push_back(what);
        };
        expect(__shfl_sync(kAll, lane, 5), 5, 0);
        expect(__shfl_sync(kAll, lane, 9, 8), lane / 8 * 8 + 1, 1);
        expect(__shfl_xor_sync(kAll, lane, 16), lane ^ 16, 2);
        expect(__shfl_xor_sync(kAll, lane, 8, 8), lane < 8 || lane % 16 < 8 ? lane : lane ^ 8, 3);
        expect(static_cast<int>(__ballot_sync(kAll, lane % 2)), static_cast<int>(0xaaaaaaaau), 4);
        expect(__all_sync(kAll, lane == 7), 0, 5);
        expect(__all_sync(kAll, lane >= 0), 1, 6);
        if (lane < 4) expect(__shfl_sync(0xf, lane, 2), 2, 7);
        float sum = 1.0f;
        for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(kAll, sum, d);
        expect(static_cast<int>(sum), 32, 8);
        expect(__popc(0xf0u) + __ffs(8), 4 + 4, 9);
    });
    require(failures.empty(), "a shuffle or vote gave something else than on a GPU");
}

const std::map<std::string, void (*)()> kCases = {
    // Right kernels.
    {"reversal",
     [] {
         Array x(64), y(64);
         for (int i = 0; i < 64; ++i) x.data[i] = static_cast<float>(i);
         const Launch how{"reversed", make_grid("reversed", 3), dim3(64)};
         launch(how, nullptr, reversed<64>, x.pointer(), y.pointer());
         for (int i = 0; i < 64; ++i) require(y.data[i] == static_cast<float>(63 - i), "wrong result");
     }},
    {"shuffles", check_shuffles},
    {"three_dimensions",
     [] {
         Array x(2 * 3 * 4 * 8);
         const Global<float> p = x.pointer();
         run("planted", dim3(2, 1, 4), dim3(2, 3, 4), [&] {
             const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
             p[thread + 24 * (blockIdx.x + gridDim.x * blockIdx.z)] += 1.0f;
         });
         for (const float value : x.data) require(value == 2.0f, "a thread ran not once");
     }},
    {"warp_barrier_orders_a_warp",
     [] {
         on(1, 64, [] {
             SHARED_ARRAY(float, s, 64);
             const int t = threadIdx.x;
             for (int round = 0; round < 3; ++round) {
                 s[t] = 1.0f;
                 __syncwarp();
                 const float other = s[t ^ 1] + s[t ^ 3];
                 __syncwarp();
                 s[t] = other;
                 __syncwarp();
             }
         });
     }},
    {"part_of_a_warp", [] { on(1, 5, [] { __syncwarp(0x1f), __syncthreads(); }); }},
    {"independent_blocks",
     [] { require(independent_blocks(1) == independent_blocks(2), "order must not matter here"); }},

    // Barriers that diverge.
    {"barrier_for_half_a_block",
     [] {
         on(1, 64, [] {
             if (threadIdx.x < 32) __syncthreads();
         });
     }},
    {"barriers_in_two_branches",
     [] {
         on(1, 64, [] {
             if (threadIdx.x < 32) {
                 __syncthreads();
             } else {
                 __syncthreads();
             }
         });
     }},
    {"one_thread_loops_once_more",
     [] {
         on(1, 64, [] {
             for (unsigned i = 0; i < 2 + (threadIdx.x == 9); ++i) __syncthreads();
         });
     }},
    {"shuffle_by_half_a_warp",
     [] {
         on(1, 32, [] {
             if (threadIdx.x < 16) __shfl_xor_sync(kAll, 1.0f, 1);
         });
     }},
    {"shuffle_waits_for_a_barrier",
     [] {
         on(1, 32, [] {
             if (threadIdx.x < 16) {
                 __shfl_xor_sync(kAll, 1.0f, 1);
             } else {
                 __syncthreads();
             }
         });
     }},
    {"lanes_disagree_about_the_mask",
     [] { on(1, 32, [] { __syncwarp(threadIdx.x < 16 ? kAll : 0xffff0000u); }); }},
    {"mask_names_a_missing_lane", [] { on(1, 16, [] { __syncwarp(); }); }},
    {"mask_without_the_own_lane", [] { on(1, 32, [] { __ballot_sync(0xffffu, 1); }); }},
    {"shuffle_from_a_lane_outside_the_mask",
     [] {
         on(1, 32, [] {
             if (threadIdx.x < 16) __shfl_sync(0xffffu, 1.0f, 20);
         });
     }},

    // Bounds.
    {"global_read_past_the_end",
     [] {
         Array a(32);
         const Global<const float> p = a.pointer();
         on(1, 33, [&] { (void)static_cast<float>(p[threadIdx.x]); });
     }},
    {"global_write_before_the_start",
     [] {
         Array a(32);
         const Global<float> p = a.pointer();
         on(1, 1, [&] { (p + 3)[-4] = 0.0f; });
     }},
    {"global_vector_passes_the_end",
     [] {
         Array a(30);
         const Global<float> p = a.pointer();
         on(1, 8, [&] { load4(p + 4 * threadIdx.x); });
     }},
    {"global_null",
     [] {
         const Global<float> p = global<float>(nullptr, 8, "bias");
         on(1, 1, [&] { p[0] = 1.0f; });
     }},
    {"shared_write_past_the_end",
     [] {
         on(1, 64, [] {
             SHARED_ARRAY(float, tile, 63);
             tile[threadIdx.x] = 1.0f;
         });
     }},
    {"shared_vector_passes_the_end",
     [] {
         on(1, 1, [] {
             SHARED_ARRAY(float, tile, 6);
             store4(tile + 4, make_float4(1, 2, 3, 4));
         });
     }},
    {"shared_window_is_left",
     [] {
         on(1, 1, [] {
             SHARED_ARRAY(float, first, 32);
             SHARED_ARRAY(float, second, 32);
             second[0] = 1.0f;
             first[32] = 1.0f;
         });
     }},
    {"too_much_shared",
     [] {
         on(1, 1, [] {
             SHARED_ARRAY(float, tile, 12 * 1024 + 1);
             tile[0] = 1.0f;
         });
     }},
    {"too_many_threads", [] { on(1, 1025, [] {}); }},
    {"no_blocks", [] { on(0, 32, [] {}); }},
    {"grid_too_large", [] { run("planted", dim3(1, 65536), 1, [] {}); }},

    // Alignment.
    {"global_vector_unaligned",
     [] {
         Array a(32);
         const Global<float> p = a.pointer();
         on(1, 1, [&] { load4(p + 2); });
     }},
    {"shared_vector_unaligned",
     [] {
         on(1, 1, [] {
             SHARED_ARRAY(float, tile, 16);
             store4(tile + 3, make_float4(1, 2, 3, 4));
         });
     }},

    // Memory that nobody wrote, or that another thread may be writing.
    {"shared_read_before_a_write",
     [] {
         on(1, 2, [] {
             SHARED_ARRAY(float, tile, 2);
             if (threadIdx.x == 0) tile[0] = 1.0f;
             __syncthreads();
             (void)static_cast<float>(tile[threadIdx.x]);
         });
     }},
    {"shared_kept_from_another_block",
     [] {
         order_seed = 0;
         on(2, 1, [] {
             SHARED_ARRAY(float, tile, 1);
             if (blockIdx.x == 0) tile[0] = 1.0f;
             (void)static_cast<float>(tile[0]);
         });
     }},
    {"read_without_a_barrier",
     [] {
         on(1, 64, [] {
             SHARED_ARRAY(float, tile, 64);
             tile[threadIdx.x] = 1.0f;
             __syncthreads();
             if (threadIdx.x < 32) {
                 tile[threadIdx.x] = 2.0f;
             } else {
                 (void)static_cast<float>(tile[threadIdx.x - 32]);
             }
         });
     }},
    {"overwrite_without_a_barrier",
     [] {
         on(1, 64, [] {
             SHARED_ARRAY(float, tile, 64);
             for (int i = 0; i < 2; ++i) {
                 tile[threadIdx.x] = 1.0f;
                 __syncthreads();
                 (void)static_cast<float>(tile[63 - threadIdx.x]);
             }
         });
     }},
    {"two_writers",
     [] {
         on(1, 2, [] {
             SHARED_ARRAY(float, tile, 1);
             tile[0] = 1.0f;
         });
     }},
    {"shuffle_is_no_barrier",
     [] {
         on(1, 32, [] {
             SHARED_ARRAY(float, tile, 32);
             tile[threadIdx.x] = 1.0f;
             __shfl_sync(kAll, 0, 0);
             (void)static_cast<float>(tile[threadIdx.x ^ 1]);
         });
     }},

    // Order of blocks.
    {"block_order",
     [] {
         if (chained_blocks(1) != chained_blocks(2)) throw Fault("results depend on the order of blocks");
     }},

    // What only the address sanitizer can see.
    {"register_array_overrun",
     [] {
         on(1, 4, [] {
             volatile float sums[4] = {0.0f};
             volatile unsigned i = threadIdx.x + 1;
             sums[i] = sums[0] + 1.0f;
         });
     }},
    {"plain_pointer_overrun",
     [] {
         Array a(32);
         float* const p = a.data.data();
         on(1, 33, [=] { p[threadIdx.x] = 0.0f; });
     }},
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2 || !kCases.count(argv[1])) {
        for (const auto& entry : kCases) std::puts(entry.first.c_str());
        return 2;
    }
    try {
        kCases.at(argv[1])();
    } catch (const Fault& fault) {
        std::puts(fault.what());
        return 3;
    }
    std::puts("no fault");
    return 0;
}
