// Kernels for AVX-512: a vector of 16 floats is one register.
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
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")
// GCC 12 writes "any value" as a variable that initialises itself, then warns of it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define SPARSEFIT_ISA "avx512"
#define KERNEL(name) name##__avx512

namespace sparsefit::avx512 {

// kLanes floats.
struct Vec {
    __m512 all;
};
constexpr int kRegisterFloats = 16;  // the widest register
constexpr int kTileVectors = 28;     // accumulators that fit the registers
constexpr int kFmaChains = 12;

inline Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, const Vec& v) { _mm512_storeu_ps(p, v.all); }
inline Vec add(const Vec& a, const Vec& b) { return {_mm512_add_ps(a.all, b.all)}; }
inline Vec fma(const Vec& a, const Vec& b, const Vec& c) { return {_mm512_fmadd_ps(a.all, b.all, c.all)}; }
// max(x, 0) that keeps NaN: the second operand wins when one is NaN.
inline Vec relu(const Vec& a) { return {_mm512_max_ps(_mm512_setzero_ps(), a.all)}; }
inline float sum(const Vec& a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.all), _mm512_extractf32x8_ps(a.all, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#include "cpu/kernels.inl.h"

}  // namespace sparsefit::avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
