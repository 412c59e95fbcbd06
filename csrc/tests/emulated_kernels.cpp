// The CUDA kernels on the emulator against a reference in double, over random sizes, for the sanitizers:
// every buffer has exactly its size, and now and then an operand has an infinity. Each pass runs twice, over
// different orders of blocks and threads, and must give the same bits. Run by
// tests/cuda/test_kernels_sanitized.py: `emulated_kernels SEED COUNT`.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda/emulation.h"
#include "cuda/kernels.h"
#include "cuda/tile.cuh"
#include "packed.h"
#include "params.h"

using namespace sparsefit;

namespace {

const float kNaN = std::numeric_limits<float>::quiet_NaN();
std::mt19937 engine;

int64_t whole(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine); }

void require(bool claim, const std::string& what) {
    if (!claim) throw std::logic_error(what);
}

// A tensor (n, c, h, w), strided or blocked; lanes without an image are 0.
struct Tensor {
    int64_t n, c, h, w;
    int lanes;
    std::vector<float> data;
    Tensor(int64_t n, int64_t c, int64_t h, int64_t w, int lanes, float fill)
        : n(n),
          c(c),
          h(h),
          w(w),
          lanes(lanes),
          data((lanes ? (n + lanes - 1) / lanes * lanes : n) * c * h * w, fill) {}
    float& at(int64_t i, int64_t k, int64_t y, int64_t x) {
        return lanes ? data[(((i / lanes * c + k) * h + y) * w + x) * lanes + i % lanes]
                     : data[((i * c + k) * h + y) * w + x];
    }
    Operand operand() { return {data.data(), {c * h * w, h * w, w, 1}, lanes}; }
    Tensor random() {
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < c * h * w; ++j)
                at(i, j / (h * w), j / w % h, j % w) = std::normal_distribution<float>()(engine);
        return *this;
    }
};

Conv random_conv() {
    Conv c{};
    c.groups = whole(1, 3) == 1 ? 2 : 1;
    c.n = whole(0, 1) ? whole(1, 5) : whole(6, 35);
    c.c_in = c.groups * whole(1, 5), c.c_out = c.groups * whole(1, 20);
    c.kh = whole(1, 3), c.kw = whole(1, 4), c.stride_h = whole(1, 3), c.stride_w = whole(1, 3);
    c.pad_top = whole(0, 3), c.pad_left = whole(0, 3), c.dilation_h = whole(1, 2), c.dilation_w = whole(1, 2);
    c.h_in = whole(1, 9) + (c.kh - 1) * c.dilation_h, c.w_in = whole(1, 9) + (c.kw - 1) * c.dilation_w;
    c.h_out = (c.h_in + 2 * c.pad_top - (c.kh - 1) * c.dilation_h - 1) / c.stride_h + 1;
    c.w_out = (c.w_in + 2 * c.pad_left - (c.kw - 1) * c.dilation_w - 1) / c.stride_w + 1;
    return c;
}

// Calls body(image, kept weight, oc, y, x, ic, row, column) for every product of the convolution.
template <class Body>
void for_products(const Conv& c, const Pattern& p, const Body& body) {
    for (int64_t oc = 0; oc < c.c_out; ++oc)
        for (int64_t k = p.rows[oc]; k < p.rows[oc + 1]; ++k)
            for (int64_t y = 0; y < c.h_out; ++y)
                for (int64_t x = 0; x < c.w_out; ++x) {
                    const int64_t tap = p.places[k] % c.taps();
                    const int64_t ic = oc / c.c_out_group() * c.c_in_group() + p.places[k] / c.taps();
                    const int64_t row = y * c.stride_h - c.pad_top + tap / c.kw * c.dilation_h;
                    const int64_t column = x * c.stride_w - c.pad_left + tap % c.kw * c.dilation_w;
                    if (row < 0 || row >= c.h_in || column < 0 || column >= c.w_in) continue;
                    for (int64_t i = 0; i < c.n; ++i) body(i, k, oc, y, x, ic, row, column);
                }
}

// A sum with the sum of its magnitudes, to which its rounding error is proportional.
struct Sum {
    double value = 0, size = 0;
    void add(double product) { value += product, size += std::abs(product); }
};

// float32 adds at most 35 * 9 * 9 products here in any order: 2^-24 of the magnitudes for each.
void require_close(float got, const Sum& sum, const char* what) {
    if (!std::isfinite(sum.value))
        return require(std::isnan(got) ? std::isnan(sum.value) : got == sum.value,
                       std::string(what) + " has another infinity or NaN");
    require(std::abs(got - sum.value) <= 35 * 81 * 6e-8 * sum.size, std::string(what) + " is wrong");
}

struct Result {
    std::vector<float> output, grad_input, grad_values, grad_bias;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), 4 * a.size()) == 0);
}
bool same_bits(const Result& a, const Result& b) {
    return same_bits(a.output, b.output) && same_bits(a.grad_input, b.grad_input) &&
           same_bits(a.grad_values, b.grad_values) && same_bits(a.grad_bias, b.grad_bias);
}

void spoil(std::vector<float>& numbers) {
    if (!numbers.empty()) numbers[whole(0, numbers.size() - 1)] = std::numeric_limits<float>::infinity();
}

void check_one() {
    const Conv c = random_conv();
    const double density = std::uniform_real_distribution<>()(engine);
    const int64_t weights = c.c_out * c.c_in_group() * c.taps();
    const auto mask = std::make_unique<bool[]>(weights);
    for (int64_t i = 0; i < weights; ++i) mask[i] = std::bernoulli_distribution(density)(engine);
    const auto packed = pack(mask.get(), c.c_out, c.c_in_group(), c.kh, c.kw, c.groups);
    const Pattern p(packed.data());
    const int lanes = whole(0, 1) ? 0 : c.n <= 4 ? 4 : c.n <= 8 ? 8 : 16;
    Tensor input = Tensor(c.n, c.c_in, c.h_in, c.w_in, lanes, 0).random();
    Tensor grad_output = Tensor(c.n, c.c_out, c.h_out, c.w_out, lanes, 0).random();
    auto values = Tensor(1, p.nnz, 1, 1, 0, 0).random().data;
    const auto bias = Tensor(1, c.c_out, 1, 1, 0, 0).random().data;
    const int64_t spoilt = whole(0, 5);
    if (spoilt == 0) spoil(values);
    if (spoilt == 1 && !lanes) spoil(input.data);
    if (spoilt == 2 && !lanes) spoil(grad_output.data);
    const bool with_bias = whole(0, 1);
    cuda::full_warps = int64_t{1} << whole(0, 12);  // all sizes of tiles, with little work

    const auto run = [&](uint64_t order) {
        emulation::order_seed = order;
        const auto scratch = [](int64_t floats) { return std::vector<float>(floats, kNaN); };
        Tensor output(c.n, c.c_out, c.h_out, c.w_out, lanes, kNaN),
            grad_input(c.n, c.c_in, c.h_in, c.w_in, lanes, kNaN);
        std::vector<float> grad_values(p.nnz, kNaN), grad_bias(c.c_out, kNaN);
        const Operand x = input.operand(), g = grad_output.operand();
        auto space = scratch(cuda::forward_scratch(c, x, output.operand()));
        cuda::forward(c, x, values.data(), with_bias ? bias.data() : nullptr, p, output.operand(),
                      {0, nullptr, space.data()});
        space = scratch(cuda::backward_input_scratch(c, g, grad_input.operand()));
        cuda::backward_input(c, g, values.data(), p, grad_input.operand(), {0, nullptr, space.data()});
        space = scratch(cuda::backward_weight_scratch(c, x, g, p.nnz, true));
        cuda::backward_weight(c, x, g, p, grad_values.data(), grad_bias.data(), {0, nullptr, space.data()});
        return Result{output.data, grad_input.data, grad_values, grad_bias};
    };
    const Result result = run(1);
    require(same_bits(result, run(2)), "the bits depend on the order of blocks or threads");

    std::vector<Sum> output(input.n * c.c_out * c.h_out * c.w_out),
        grad_input(c.n * c.c_in * c.h_in * c.w_in);
    std::vector<Sum> grad_values(p.nnz), grad_bias(c.c_out);
    const auto out = [&](int64_t i, int64_t oc, int64_t y, int64_t x) -> Sum& {
        return output[((i * c.c_out + oc) * c.h_out + y) * c.w_out + x];
    };
    const auto in = [&](int64_t i, int64_t ic, int64_t y, int64_t x) -> Sum& {
        return grad_input[((i * c.c_in + ic) * c.h_in + y) * c.w_in + x];
    };
    for_products(
        c, p,
        [&](int64_t i, int64_t k, int64_t oc, int64_t y, int64_t x, int64_t ic, int64_t row, int64_t column) {
            const double value = values[k], g = grad_output.at(i, oc, y, x), v = input.at(i, ic, row, column);
            out(i, oc, y, x).add(value * v);
            in(i, ic, row, column).add(value * g);
            grad_values[k].add(v * g);
        });
    Tensor got_output(c.n, c.c_out, c.h_out, c.w_out, lanes, 0),
        got_input(c.n, c.c_in, c.h_in, c.w_in, lanes, 0);
    got_output.data = result.output, got_input.data = result.grad_input;
    for (int64_t i = 0; i < c.n; ++i) {
        for (int64_t oc = 0; oc < c.c_out; ++oc)
            for (int64_t y = 0; y < c.h_out; ++y)
                for (int64_t x = 0; x < c.w_out; ++x) {
                    if (with_bias) out(i, oc, y, x).add(bias[oc]);
                    grad_bias[oc].add(grad_output.at(i, oc, y, x));
                    require_close(got_output.at(i, oc, y, x), out(i, oc, y, x), "the output");
                }
        for (int64_t ic = 0; ic < c.c_in; ++ic)
            for (int64_t y = 0; y < c.h_in; ++y)
                for (int64_t x = 0; x < c.w_in; ++x)
                    require_close(got_input.at(i, ic, y, x), in(i, ic, y, x), "the gradient to the input");
    }
    for (int64_t k = 0; k < p.nnz; ++k)
        require_close(result.grad_values[k], grad_values[k], "the gradient to a kept weight");
    for (int64_t oc = 0; oc < c.c_out; ++oc)
        require_close(result.grad_bias[oc], grad_bias[oc], "the gradient to the bias");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const unsigned seed = static_cast<unsigned>(std::atoi(argv[1]));
    for (int i = 0; i < std::atoi(argv[2]); ++i) {
        engine.seed(seed + i);
        try {
            check_one();
        } catch (const std::exception& error) {
            std::printf("seed %u: %s\n", seed + i, error.what());
            return 1;
        }
    }
    return 0;
}
