// Kernels for any CPU: four floats at a time, which GCC and clang turn into SSE2 or NEON.
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

#define SPARSEFIT_ISA "portable"
#define KERNEL(name) name##__portable

namespace sparsefit::portable {

using Quad = float __attribute__((vector_size(16)));
using QuadMask = int __attribute__((vector_size(16)));

// kLanes floats.
struct Vec {
    Quad part[4];
};
constexpr int kRegisterFloats = 4;  // the widest register
constexpr int kTileVectors = 3;     // accumulators that fit the registers
constexpr int kFmaChains = 3;

inline Vec broadcast(float x) {
    const Quad q = {x, x, x, x};
    return {{q, q, q, q}};
}
inline Vec load(const float* p) {
    Vec v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
inline void store(float* p, const Vec& v) { __builtin_memcpy(p, &v, sizeof v); }
inline Vec add(const Vec& a, const Vec& b) {
    return {{a.part[0] + b.part[0], a.part[1] + b.part[1], a.part[2] + b.part[2], a.part[3] + b.part[3]}};
}
inline Vec fma(const Vec& a, const Vec& b, const Vec& c) {
    return {{c.part[0] + a.part[0] * b.part[0], c.part[1] + a.part[1] * b.part[1],
             c.part[2] + a.part[2] * b.part[2], c.part[3] + a.part[3] * b.part[3]}};
}
// max(x, 0) that keeps NaN.
inline Vec relu(const Vec& a) {
    Vec v;
    for (int i = 0; i < 4; ++i) v.part[i] = (Quad)(~(QuadMask)(a.part[i] < 0) & (QuadMask)a.part[i]);
    return v;
}
// 0 where g <= 0, else v.
inline Vec gate(const Vec& g, const Vec& v) {
    Vec w;
    for (int i = 0; i < 4; ++i) w.part[i] = (Quad)(~(QuadMask)(g.part[i] <= 0) & (QuadMask)v.part[i]);
    return w;
}
inline float sum(const Vec& a) {
    const Quad q = (a.part[0] + a.part[1]) + (a.part[2] + a.part[3]);
    return (q[0] + q[1]) + (q[2] + q[3]);
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
    float sums[kLanes];
    for (int i = 0; i < kLanes; ++i) {
        const Quad q = (v[i].part[0] + v[i].part[1]) + (v[i].part[2] + v[i].part[3]);
        sums[i] = (q[0] + q[2]) + (q[1] + q[3]);
    }
    return load(sums);
}

// Lane j of v[i] becomes lane i of v[j].
inline void transpose(Vec (&v)[kLanes]) {
    float buffer[kLanes][kLanes];
    for (int i = 0; i < kLanes; ++i) store(buffer[i], v[i]);
    for (int i = 0; i < kLanes; ++i) {
        float row[kLanes];
        for (int j = 0; j < kLanes; ++j) row[j] = buffer[j][i];
        v[i] = load(row);
    }
}

#include "cpu/kernels.inl.h"

}  // namespace sparsefit::portable
