// Kernels for AVX2 with FMA: a vector of 16 floats is two registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/cache.h"
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
// 0 where g <= 0, else v.
inline Vec gate(const Vec& g, const Vec& v) {
    const __m256 zero = _mm256_setzero_ps();
    return {_mm256_and_ps(_mm256_cmp_ps(g.low, zero, _CMP_NLE_UQ), v.low),
            _mm256_and_ps(_mm256_cmp_ps(g.high, zero, _CMP_NLE_UQ), v.high)};
}
inline float sum(const Vec& a) {
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline Vec load_first(const float* p, int count) {
    float buffer[kLanes] = {};
    for (int i = 0; i < count; ++i) buffer[i] = p[i];
    return load(buffer);
}
inline void store_first(float* p, const Vec& v, int count) {
    float buffer[kLanes];
    store(buffer, v);
    for (int i = 0; i < count; ++i) p[i] = buffer[i];
}

// Lane i of the result is the sum of v[i].
inline Vec sums_of(const Vec (&v)[kLanes]) {
    // Eight vectors, each already folded to eight floats, become one: halves, then pairs, then singles are
    // added.
    const auto eight = [&](int first) {
        __m256 q[4];
        for (int i = 0; i < 4; ++i) {
            const Vec &a = v[first + i], &b = v[first + i + 4];
            const __m256 x = _mm256_add_ps(a.low, a.high), y = _mm256_add_ps(b.low, b.high);
            q[i] = _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
        }
        return _mm256_hadd_ps(_mm256_hadd_ps(q[0], q[1]), _mm256_hadd_ps(q[2], q[3]));
    };
    return {eight(0), eight(8)};
}

inline void transpose8(__m256 (&r)[8]) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; ++k) {
            b[i + 2 * k] = _mm256_shuffle_ps(a[i + k], a[i + k + 2], 0x44);
            b[i + 2 * k + 1] = _mm256_shuffle_ps(a[i + k], a[i + k + 2], 0xEE);
        }
    for (int k = 0; k < 4; ++k) {
        r[k] = _mm256_permute2f128_ps(b[k], b[4 + k], 0x20);
        r[4 + k] = _mm256_permute2f128_ps(b[k], b[4 + k], 0x31);
    }
}

// Lane j of v[i] becomes lane i of v[j].
inline void transpose(Vec (&v)[kLanes]) {
    __m256 top_left[8], top_right[8], bottom_left[8], bottom_right[8];
    for (int i = 0; i < 8; ++i) {
        top_left[i] = v[i].low;
        top_right[i] = v[i].high;
        bottom_left[i] = v[8 + i].low;
        bottom_right[i] = v[8 + i].high;
    }
    transpose8(top_left);
    transpose8(top_right);
    transpose8(bottom_left);
    transpose8(bottom_right);
    for (int i = 0; i < 8; ++i) {
        v[i] = {top_left[i], bottom_left[i]};
        v[8 + i] = {top_right[i], bottom_right[i]};
    }
}

#include "cpu/kernels.inl.h"

}  // namespace sparsefit::avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
