// Kernels for AVX-512: a vector of 16 floats is one register.
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
// 0 where g <= 0, else v.
inline Vec gate(const Vec& g, const Vec& v) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(g.all, _mm512_setzero_ps(), _CMP_NLE_UQ), v.all)};
}
inline float sum(const Vec& a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.all), _mm512_extractf32x8_ps(a.all, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline Vec load_first(const float* p, int count) {
    return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p)};
}
inline void store_first(float* p, const Vec& v, int count) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), v.all);
}

// Each quarter of the result holds the four sums over quarters of one vector.
inline __m512 add_quarters(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
    const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xEE));
    return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
}

// Lane i of the result is the sum of v[i].
inline Vec sums_of(const Vec (&v)[kLanes]) {
    __m512 q[4];
    for (int i = 0; i < 4; ++i) q[i] = add_quarters(v[i].all, v[i + 4].all, v[i + 8].all, v[i + 12].all);
    const __m512 low =
        _mm512_add_ps(_mm512_shuffle_ps(q[0], q[1], 0x44), _mm512_shuffle_ps(q[0], q[1], 0xEE));
    const __m512 high =
        _mm512_add_ps(_mm512_shuffle_ps(q[2], q[3], 0x44), _mm512_shuffle_ps(q[2], q[3], 0xEE));
    return {_mm512_add_ps(_mm512_shuffle_ps(low, high, 0x88), _mm512_shuffle_ps(low, high, 0xDD))};
}

// Lane j of v[i] becomes lane i of v[j].
inline void transpose(Vec (&v)[kLanes]) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(v[i].all, v[i + 1].all);
        a[i + 1] = _mm512_unpackhi_ps(v[i].all, v[i + 1].all);
    }
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; ++k) {
            b[i + 2 * k] = _mm512_shuffle_ps(a[i + k], a[i + k + 2], 0x44);
            b[i + 2 * k + 1] = _mm512_shuffle_ps(a[i + k], a[i + k + 2], 0xEE);
        }
    // b[4 * i + k]: quarter q holds column 4 * q + k of rows 4 * i .. 4 * i + 3.
    for (int k = 0; k < 4; ++k) {
        const __m512 even01 = _mm512_shuffle_f32x4(b[k], b[4 + k], 0x88);
        const __m512 odd01 = _mm512_shuffle_f32x4(b[k], b[4 + k], 0xDD);
        const __m512 even23 = _mm512_shuffle_f32x4(b[8 + k], b[12 + k], 0x88);
        const __m512 odd23 = _mm512_shuffle_f32x4(b[8 + k], b[12 + k], 0xDD);
        v[k].all = _mm512_shuffle_f32x4(even01, even23, 0x88);
        v[8 + k].all = _mm512_shuffle_f32x4(even01, even23, 0xDD);
        v[4 + k].all = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
        v[12 + k].all = _mm512_shuffle_f32x4(odd01, odd23, 0xDD);
    }
}

#include "cpu/kernels.inl.h"

}  // namespace sparsefit::avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
