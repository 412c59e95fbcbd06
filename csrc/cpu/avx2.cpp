// Kernels for AVX2 with FMA: a vector of 16 floats is two registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/gather.h"
#include "cpu/plan.h"
#include "threads.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define SPARSEFIT_ISA "avx2"
#define KERNEL(name) name##__avx2

namespace sparsefit::avx2 {

// kLanes floats.
struct Vec {
    __m256 low, high;
};
constexpr int kRegisterFloats = 8;  // the widest register
constexpr int kTileVectors = 7;     // accumulators that fit the registers
constexpr int kFmaChains = 7;

inline Vec broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, const Vec& v) {
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
}
inline Vec add(const Vec& a, const Vec& b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline Vec fma(const Vec& a, const Vec& b, const Vec& c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
// max(x, 0) that keeps NaN: the second operand wins when one is NaN.
inline Vec relu(const Vec& a) {
    const __m256 zero = _mm256_setzero_ps();
    return {_mm256_max_ps(zero, a.low), _mm256_max_ps(zero, a.high)};
}
inline float sum(const Vec& a) {
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#include "cpu/kernels.inl.h"

}  // namespace sparsefit::avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
