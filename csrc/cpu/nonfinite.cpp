// The kernels multiply the zeros that they stage around an image, which changes
// nothing unless the other factor is an infinity or NaN: 0 * inf = NaN, where
// no product should be. So whatever may have met one is computed again from the
// products that exist, one by one: output pixels at the border in the rows of a
// weight that is not finite, and weight gradients that came out not finite.
// Looking for them costs a pass over the weights.
#include "cpu/nonfinite.h"

#include <cstring>

namespace sparsefit {
namespace {

bool is_finite(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

float* element(const View& v, int64_t image, int64_t c, int64_t y, int64_t x) {
    return v.at(image / kLanes, c, y, x) + image % kLanes * v.lane;
}

View input_view(const Conv& c, const Operand& operand) { return view(operand, c.n, c.c_in, c.h_in, c.w_in); }
View output_view(const Conv& c, const Operand& operand) {
    return view(operand, c.n, c.c_out, c.h_out, c.w_out);
}

// Along one axis: the input pixel of an output pixel and a tap, and the other
// way round; -1 if there is none.
struct Axis {
    int64_t in, out, stride, pad, dilation;
    int64_t input(int64_t pixel, int64_t tap) const {
        const int64_t at = pixel * stride - pad + tap * dilation;
        return at < 0 || at >= in ? -1 : at;
    }
    int64_t output(int64_t pixel, int64_t tap) const {
        const int64_t at = pixel + pad - tap * dilation;
        return at < 0 || at % stride || at / stride >= out ? -1 : at / stride;
    }
};
Axis rows(const Conv& c) { return {c.h_in, c.h_out, c.stride_h, c.pad_top, c.dilation_h}; }
Axis columns(const Conv& c) { return {c.w_in, c.w_out, c.stride_w, c.pad_left, c.dilation_w}; }

// Rows [starts[row], starts[row + 1]) of a pattern, one direction of it.
struct Rows {
    int64_t count, per_group, channels_per_group;
    const int32_t *starts, *places, *permutation;
    float value(const float* values, int64_t i) const { return values[permutation ? permutation[i] : i]; }
    bool finite(const float* values, int64_t row) const {
        for (int64_t i = starts[row]; i < starts[row + 1]; ++i)
            if (!is_finite(value(values, i))) return false;
        return true;
    }
};

// source_of(pixel, tap) along each axis; pixels with all of their sources are
// right already.
template <class Source>
void mend(const Rows& r, const float* values, const float* bias, bool relu, const View& in, const View& out,
          int64_t kh, int64_t kw, const Source& source_row, const Source& source_column) {
    const auto whole = [](const Source& source, int64_t pixel, int64_t taps) {
        for (int64_t tap = 0; tap < taps; ++tap)
            if (source(pixel, tap) < 0) return false;
        return true;
    };
    for (int64_t row = 0; row < r.count; ++row) {
        if (r.finite(values, row)) continue;
        const int64_t first = row / r.per_group * r.channels_per_group;
        for (int64_t y = 0; y < out.height; ++y)
            for (int64_t x = 0; x < out.width; ++x) {
                if (whole(source_row, y, kh) && whole(source_column, x, kw)) continue;
                for (int64_t image = 0; image < out.n; ++image) {
                    float sum = bias ? bias[row] : 0.0f;
                    for (int64_t i = r.starts[row]; i < r.starts[row + 1]; ++i) {
                        const int64_t place = r.places[i], ky = place / kw % kh, kx = place % kw;
                        const int64_t sy = source_row(y, ky), sx = source_column(x, kx);
                        if (sy < 0 || sx < 0) continue;
                        sum += r.value(values, i) * *element(in, image, first + place / (kh * kw), sy, sx);
                    }
                    *element(out, image, row, y, x) = relu && sum < 0 ? 0.0f : sum;
                }
            }
    }
}

}  // namespace

bool all_finite(const float* x, int64_t count) {
    bool finite = true;  // no early exit: a loop that the compiler can make vectors of
    for (int64_t i = 0; i < count; ++i) finite &= is_finite(x[i]);
    return finite;
}

void mend_forward(const Conv& c, const Operand& input, const float* values, const float* bias,
                  const Pattern& p, const Operand& output, bool relu) {
    if (c.taps() == 1 && c.pad_top == 0 && c.pad_left == 0) return;  // nothing is staged around it
    if (all_finite(values, p.nnz)) return;
    const Axis h = rows(c), w = columns(c);
    const auto source = [](const Axis& axis) {
        return [axis](int64_t pixel, int64_t tap) { return axis.input(pixel, tap); };
    };
    mend(Rows{c.c_out, c.c_out_group(), c.c_in_group(), p.rows, p.places, nullptr}, values, bias, relu,
         input_view(c, input), output_view(c, output), c.kh, c.kw, source(h), source(w));
}

void mend_backward_input(const Conv& c, const Operand& grad_output, const float* values, const Pattern& p,
                         const Operand& grad_input) {
    if (c.taps() == 1 && c.stride_h * c.stride_w == 1 && c.pad_top == 0 && c.pad_left == 0) return;
    if (all_finite(values, p.nnz)) return;
    const Axis h = rows(c), w = columns(c);
    const auto source = [](const Axis& axis) {
        return [axis](int64_t pixel, int64_t tap) { return axis.output(pixel, tap); };
    };
    mend(Rows{c.c_in, c.c_in_group(), c.c_out_group(), p.rows_transposed, p.places_transposed, p.permutation},
         values, nullptr, false, output_view(c, grad_output), input_view(c, grad_input), c.kh, c.kw,
         source(h), source(w));
}

void mend_backward_weight(const Conv& c, const Operand& input, const Operand& grad_output, const Pattern& p,
                          float* grad_values) {
    if (c.h_in * c.w_in == 1 && c.h_out * c.w_out == 1 && c.taps() == 1) return;
    if (all_finite(grad_values, p.nnz)) return;
    const Axis h = rows(c), w = columns(c);
    const View in = input_view(c, input), grad = output_view(c, grad_output);
    const auto dot = [&](int64_t oc, int64_t ic, int64_t ky, int64_t kx) {
        float sum = 0;
        for (int64_t image = 0; image < c.n; ++image)
            for (int64_t y = 0; y < c.h_out; ++y)
                for (int64_t x = 0; x < c.w_out; ++x) {
                    const int64_t sy = h.input(y, ky), sx = w.input(x, kx);
                    if (sy < 0 || sx < 0) continue;
                    sum += *element(grad, image, oc, y, x) * *element(in, image, ic, sy, sx);
                    if (sum != sum) return sum;  // NaN stays NaN
                }
        return sum;
    };
    for (int64_t oc = 0; oc < c.c_out; ++oc)
        for (int64_t i = p.rows[oc]; i < p.rows[oc + 1]; ++i) {
            if (is_finite(grad_values[i])) continue;
            const int64_t place = p.places[i];
            grad_values[i] = dot(oc, oc / c.c_out_group() * c.c_in_group() + place / c.taps(),
                                 place / c.kw % c.kh, place % c.kw);
        }
}

}  // namespace sparsefit
