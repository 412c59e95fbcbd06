// Tests of the core without Python, for `make sanitize`: every buffer has exactly its size, so that
// AddressSanitizer sees a read or write past it; loops run on several threads, for ThreadSanitizer.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/nonfinite.h"
#include "packed.h"
#include "threads.h"

using namespace sparsefit;
using Floats = std::vector<float>;

namespace {

void hold(bool claim, const char* what) {
    if (claim) return;
    std::fprintf(stderr, "FAILED: %s\n", what);
    std::exit(1);
}

struct Random {
    std::mt19937 engine;
    explicit Random(unsigned seed) : engine(seed) {}
    int64_t whole(int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(engine);
    }
    float number() { return std::normal_distribution<float>()(engine); }
    bool coin(double p) { return std::bernoulli_distribution(p)(engine); }
    Floats numbers(int64_t count) {
        Floats x(count);
        for (float& v : x) v = number();
        return x;
    }
};

// A tensor (n, c, h, w) in one of the layouts, in memory of exactly its size.
struct Tensor {
    int64_t n, c, h, w;
    int lanes;  // 0: NCHW
    Floats data;
    Tensor(int64_t n, int64_t c, int64_t h, int64_t w, int lanes)
        : n(n),
          c(c),
          h(h),
          w(w),
          lanes(lanes),
          data((lanes ? (n + lanes - 1) / lanes * lanes : n) * c * h * w) {}
    float& at(int64_t i, int64_t k, int64_t y, int64_t x) {
        if (!lanes) return data[((i * c + k) * h + y) * w + x];
        return data[(((i / lanes * c + k) * h + y) * w + x) * lanes + i % lanes];
    }
    Operand operand() {
        return {data.data(), {lanes ? 0 : c * h * w, lanes ? 0 : h * w, lanes ? 0 : w, lanes ? 0 : 1}, lanes};
    }
    void fill(Random& random) {
        for (int64_t i = 0; i < n; ++i)
            for (int64_t k = 0; k < c; ++k)
                for (int64_t y = 0; y < h; ++y)
                    for (int64_t x = 0; x < w; ++x) at(i, k, y, x) = random.number();
    }
};

int lanes_for(int64_t n) { return n > 8 ? 16 : n > 4 ? 8 : n > 2 ? 4 : n > 1 ? 2 : 1; }

Conv random_conv(Random& r) {
    Conv c{};
    c.groups = r.coin(0.3) ? 2 : 1;
    c.n = r.coin(0.4) ? r.whole(1, 8) : r.whole(9, 50);
    c.c_in = c.groups * r.whole(1, 9);
    c.c_out = c.groups * r.whole(1, 9);
    if (r.coin(0.15)) {
        c.h_in = c.w_in = c.h_out = c.w_out = c.kh = c.kw = 1;
        return c;
    }
    c.kh = r.whole(1, 4), c.kw = r.whole(1, 4);
    c.stride_h = r.whole(1, 3), c.stride_w = r.whole(1, 3);
    c.dilation_h = r.whole(1, 2), c.dilation_w = r.whole(1, 2);
    c.pad_top = r.whole(0, 3), c.pad_left = r.whole(0, 3);
    const int64_t reach_h = (c.kh - 1) * c.dilation_h + 1, reach_w = (c.kw - 1) * c.dilation_w + 1;
    c.h_in = r.whole(reach_h, reach_h + 9), c.w_in = r.whole(reach_w, reach_w + 20);
    // Padding at the far sides is whatever the output size implies.
    c.h_out = (c.h_in + c.pad_top + r.whole(0, 2) - reach_h) / c.stride_h + 1;
    c.w_out = (c.w_in + c.pad_left + r.whole(0, 2) - reach_w) / c.stride_w + 1;
    return c;
}

// Calls body(image, oc, y, x, ic, sy, sx, nonzero) for every product of the convolution.
template <class Body>
void for_products(const Conv& c, const Pattern& p, const Body& body) {
    for (int64_t oc = 0; oc < c.c_out; ++oc)
        for (int64_t i = p.rows[oc]; i < p.rows[oc + 1]; ++i)
            for (int64_t y = 0; y < c.h_out; ++y)
                for (int64_t x = 0; x < c.w_out; ++x) {
                    const int64_t place = p.places[i];
                    const int64_t sy = y * c.stride_h - c.pad_top + place / c.kw % c.kh * c.dilation_h;
                    const int64_t sx = x * c.stride_w - c.pad_left + place % c.kw * c.dilation_w;
                    if (sy < 0 || sy >= c.h_in || sx < 0 || sx >= c.w_in) continue;
                    const int64_t ic = oc / c.c_out_group() * c.c_in_group() + place / c.taps();
                    for (int64_t image = 0; image < c.n; ++image) body(image, oc, y, x, ic, sy, sx, i);
                }
}

void hold_close(float got, double exact, const char* what) {
    // Sums of at most a few thousand products of numbers near one.
    hold(std::fabs(got - exact) <= 1e-3 * (1 + std::fabs(exact)), what);
}

void test_passes(const Kernels& k, unsigned seed) {
    Random r(seed);
    const Conv c = random_conv(r);
    const double density = seed % 5 == 0 ? 0.0 : seed % 5 == 1 ? 1.0 : 0.4;
    std::vector<char> mask(c.c_out * c.c_in_group() * c.taps());
    for (char& keep : mask) keep = r.coin(density);
    const std::vector<int32_t> packed =
        pack(reinterpret_cast<const bool*>(mask.data()), c.c_out, c.c_in_group(), c.kh, c.kw, c.groups);
    const Pattern p(packed.data());
    const Floats values = r.numbers(p.nnz), bias = r.numbers(c.c_out);
    const int lanes = r.coin(0.5) ? lanes_for(c.n) : 0;
    Tensor in(c.n, c.c_in, c.h_in, c.w_in, lanes), grad(c.n, c.c_out, c.h_out, c.w_out, lanes);
    in.fill(r), grad.fill(r);
    std::vector<double> out(c.n * c.c_out * c.h_out * c.w_out), grad_in(c.n * c.c_in * c.h_in * c.w_in),
        grad_w(p.nnz);
    const auto out_at = [&](int64_t i, int64_t o, int64_t y, int64_t x) {
        return ((i * c.c_out + o) * c.h_out + y) * c.w_out + x;
    };
    const auto in_at = [&](int64_t i, int64_t o, int64_t y, int64_t x) {
        return ((i * c.c_in + o) * c.h_in + y) * c.w_in + x;
    };
    for_products(
        c, p,
        [&](int64_t i, int64_t oc, int64_t y, int64_t x, int64_t ic, int64_t sy, int64_t sx, int64_t nz) {
            const double a = in.at(i, ic, sy, sx), g = grad.at(i, oc, y, x), w = values[nz];
            out[out_at(i, oc, y, x)] += a * w, grad_in[in_at(i, ic, sy, sx)] += g * w, grad_w[nz] += a * g;
        });
    std::vector<Floats> first;
    for (int threads : {1, 2, 3}) {
        Tensor y(c.n, c.c_out, c.h_out, c.w_out, lanes), dx(c.n, c.c_in, c.h_in, c.w_in, lanes);
        Floats dw(p.nnz, NAN), db(c.c_out, NAN);
        k.forward(c, in.operand(), values.data(), bias.data(), p, y.operand(), false, nullptr, nullptr,
                  threads);
        k.backward_input(c, grad.operand(), values.data(), p, dx.operand(), nullptr, threads);
        k.backward_weight(c, in.operand(), grad.operand(), p, dw.data(), db.data(), nullptr, threads);
        for (int64_t i = 0; i < c.n; ++i) {
            for (int64_t o = 0; o < c.c_out; ++o)
                for (int64_t a = 0; a < c.h_out; ++a)
                    for (int64_t b = 0; b < c.w_out; ++b)
                        hold_close(y.at(i, o, a, b), out[out_at(i, o, a, b)] + bias[o], "forward");
            for (int64_t o = 0; o < c.c_in; ++o)
                for (int64_t a = 0; a < c.h_in; ++a)
                    for (int64_t b = 0; b < c.w_in; ++b)
                        hold_close(dx.at(i, o, a, b), grad_in[in_at(i, o, a, b)], "backward_input");
        }
        for (int64_t i = 0; i < p.nnz; ++i) hold_close(dw[i], grad_w[i], "backward_weight");
        std::vector<Floats> all = {y.data, dx.data, dw, db};
        if (first.empty()) first = all;
        hold(all == first, "equal bits for every number of threads");
    }
}

void test_blocked(const Kernels& k, unsigned seed) {
    Random r(seed);
    const int64_t n = r.whole(1, 40);
    const Blocked s{n, r.whole(1, 5), r.whole(3, 9), r.whole(3, 9), lanes_for(n)};
    Tensor x(n, s.channels, s.height, s.width, 0), back = x;
    x.fill(r);
    Floats blocks(s.floats());
    k.blocked.to_blocked(s, x.operand(), blocks.data(), 2);
    k.blocked.from_blocked(s, blocks.data(), back.operand(), 2);
    hold(back.data == x.data, "there and back again");
    const int64_t size = r.whole(2, 3), step = r.whole(1, 3);
    const Pool pool{
        size, size, step, step, 1, 0, (s.height + 1 - size) / step + 1, (s.width - size) / step + 1};
    const Blocked small{n, s.channels, pool.h_out, pool.w_out, s.lanes};
    std::vector<Floats> first;
    for (int threads : {1, 2, 3}) {
        Floats max(small.floats()), mean(small.floats()), dx(s.floats()), mean_dx(s.floats());
        Floats db(s.channels), bias = Floats(s.channels, 0.5f);
        std::vector<uint8_t> places(small.floats());
        k.blocked.bias_relu_max_pool(s, pool, blocks.data(), bias.data(), max.data(), places.data(), threads);
        k.blocked.bias_relu_max_pool_backward(s, pool, max.data(), max.data(), places.data(), dx.data(),
                                              db.data(), threads);
        k.blocked.average_pool(s, pool, blocks.data(), mean.data(), threads);
        k.blocked.average_pool_backward(s, pool, mean.data(), mean_dx.data(), threads);
        std::vector<Floats> all = {max, dx, mean, mean_dx, db};
        if (first.empty()) first = all;
        hold(all == first, "equal bits of pooling for every number of threads");
    }
}

// A convolution with its pooling: in one pass where windows cover the image, else in two.
void test_pooled(const Kernels& k, unsigned seed) {
    Random r(seed);
    Conv c{};
    c.n = r.whole(1, 40), c.c_in = r.whole(1, 4), c.c_out = r.whole(1, 9), c.kh = c.kw = 3;
    c.pad_top = c.pad_left = 1;
    c.h_in = c.h_out = r.whole(2, 20), c.w_in = c.w_out = r.whole(2, 20);
    const std::vector<char> mask(c.c_out * c.c_in * c.taps(), 1);
    const std::vector<int32_t> packed =
        pack(reinterpret_cast<const bool*>(mask.data()), c.c_out, c.c_in, c.kh, c.kw, 1);
    const Pattern p(packed.data());
    const Floats values = r.numbers(p.nnz), bias = r.numbers(c.c_out);
    const int lanes = lanes_for(c.n);
    Tensor in(c.n, c.c_in, c.h_in, c.w_in, lanes), grad(c.n, c.c_out, c.h_out / 2, c.w_out / 2, lanes);
    in.fill(r), grad.fill(r);
    const Blocked shape = output_of(c, in.operand());
    const Pool pool{2, 2, 2, 2, 0, 0, grad.h, grad.w};
    Tensor map(c.n, c.c_out, c.h_out, c.w_out, lanes), expected = grad;
    std::vector<uint8_t> places(grad.data.size());
    k.forward(c, in.operand(), values.data(), nullptr, p, map.operand(), false, nullptr, nullptr, 1);
    k.blocked.bias_relu_max_pool(shape, pool, map.data.data(), bias.data(), expected.data.data(),
                                 places.data(), 1);
    Floats dw(p.nnz), db(c.c_out);
    k.blocked.bias_relu_max_pool_backward(shape, pool, expected.data.data(), grad.data.data(), places.data(),
                                          map.data.data(), db.data(), 1);
    k.backward_weight(c, in.operand(), map.operand(), p, dw.data(), nullptr, nullptr, 1);
    for (int threads : {1, 2, 3}) {
        Tensor work(c.n, c.c_out, c.h_out, c.w_out, lanes), pooled = grad;
        std::vector<uint8_t> found_places(places.size());
        Floats found_dw(p.nnz, NAN), found_db(c.c_out, NAN);
        const Pooling pooling{
            pool, bias.data(), pooled.data.data(), found_places.data(), grad.data.data(), found_db.data()};
        k.forward(c, in.operand(), values.data(), nullptr, p, work.operand(), false, nullptr, &pooling,
                  threads);
        hold(pooled.data == expected.data && found_places == places, "a pooled convolution");
        k.backward_weight(c, in.operand(), work.operand(), p, found_dw.data(), nullptr, &pooling, threads);
        for (int64_t i = 0; i < p.nnz; ++i) hold_close(found_dw[i], dw[i], "backward_weight of a pooling");
        for (int64_t i = 0; i < c.c_out; ++i) hold_close(found_db[i], db[i], "bias of a pooling");
    }
}

void test_threads() {
    std::vector<int> hits(1000, 0);
    parallel_for(1000, 4, [&](int64_t i) { parallel_for(3, 4, [&](int64_t) { ++hits[i]; }); });
    for (int count : hits) hold(count == 3, "every index runs once");
    for (int round = 0; round < 50; ++round) {
        std::atomic<int> started{0};
        try {
            parallel_for(64, 3, [&](int64_t i) {
                ++started;
                if (i == 5) throw std::runtime_error("five");
            });
            hold(false, "the exception of a task arrives");
        } catch (const std::runtime_error& error) {
            hold(std::string(error.what()) == "five" && started >= 1, "the exception of a task arrives");
        }
    }
    std::vector<std::thread> callers;
    std::atomic<int64_t> total{0};
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&] {
            for (int round = 0; round < 200; ++round)
                parallel_for(20, 3, [&](int64_t i) { total.fetch_add(i, std::memory_order_relaxed); });
        });
    for (std::thread& caller : callers) caller.join();
    hold(total == 4 * 200 * 190, "loops of several callers");
}

void test_large_indices() {
    // Addresses only: 3 * 2^31 elements are not allocated.
    const int64_t n = int64_t{1} << 20, c = 64, h = 16, w = 6;
    const View v = view(Operand{nullptr, {}, kLanes}, n, c, h, w);
    hold(v.at(n / kLanes - 1, c - 1, h - 1, w - 1) - v.data == n * c * h * w - kLanes, "offsets past 2^31");
}

}  // namespace

int main() {
    test_threads();
    test_large_indices();
    std::vector<const Kernels*> tables = {&portable::kernels__portable};
#if defined(__x86_64__)
    for (const std::string& name : isas()) {
        if (name == "avx2") tables.push_back(&avx2::kernels__avx2);
        if (name == "avx512") tables.push_back(&avx512::kernels__avx512);
    }
#endif
    for (const Kernels* table : tables) {
        for (unsigned seed = 0; seed < 60; ++seed)
            test_passes(*table, seed), test_blocked(*table, seed), test_pooled(*table, seed);
        std::printf("%s: passed\n", table->isa);
    }
}
