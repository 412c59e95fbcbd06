// Poolings. A window pixel is one vector, so windows of any size, stride and padding are loops over vectors.
// Windows of 2 x 2 side by side have loops of constant length, which the compiler unrolls: that halves the
// time of a pooling.

// Side of square windows that lie side by side inside the image, 0 for any other.
inline int window_side(const Blocked& shape, const Pool& pool) {
    const bool is_2 = pool.kernel_h == 2 && pool.kernel_w == 2 && pool.stride_h == 2 && pool.stride_w == 2;
    const bool whole = pool.pad_top == 0 && pool.pad_left == 0 && 2 * pool.h_out <= shape.height &&
                       2 * pool.w_out <= shape.width;
    return is_2 && whole ? 2 : 0;
}

// Whether every pixel of the image is in just one window.
inline bool tiles(const Blocked& shape, const Pool& pool) {
    return pool.stride_h == pool.kernel_h && pool.stride_w == pool.kernel_w &&
           pool.h_out * pool.kernel_h >= shape.height + pool.pad_top &&
           pool.w_out * pool.kernel_w >= shape.width + pool.pad_left;
}

// Calls body with the side as a constant.
template <class Body>
void with_side(const Blocked& shape, const Pool& pool, const Body& body) {
    window_side(shape, pool) == 2 ? body(std::integral_constant<int, 2>())
                                  : body(std::integral_constant<int, 0>());
}

// The part of one window that lies in the image.
template <int SIDE>
struct Window {
    int64_t top, bottom, left, right;  // window rows [top, bottom), columns [left, right)
    int64_t first;                     // pixel of the image under window pixel (0, 0); may lie outside

    Window(const Blocked& shape, const Pool& pool, int64_t y_out, int64_t x_out) {
        if constexpr (SIDE > 0) {
            top = left = 0;
            bottom = right = SIDE;
            first = (y_out * shape.pitch() + x_out) * SIDE;
            return;
        }
        const int64_t y = y_out * pool.stride_h - pool.pad_top, x = x_out * pool.stride_w - pool.pad_left;
        top = std::max<int64_t>(0, -y);
        bottom = std::min(pool.kernel_h, shape.height - y);
        left = std::max<int64_t>(0, -x);
        right = std::min(pool.kernel_w, shape.width - x);
        first = y * shape.pitch() + x;
    }
};

// Maxima of one plane. A value wins when it is larger, or NaN: so the first maximum, and the last NaN, as in
// torch.
template <int LANES, bool RECTIFY, int SIDE, bool PLACES>
void max_pool_plane(const Blocked& shape, const Pool& pool, const float* in, float bias, float* out,
                    uint8_t* places) {
    using V = Lanes<LANES>;
    typename V::Float lowest{}, zero{};
    lowest -= __builtin_inff();
    for (int64_t y = 0; y < pool.h_out; ++y)
        for (int64_t x = 0; x < pool.w_out; ++x) {
            const Window<SIDE> w(shape, pool, y, x);
            const int64_t at = pool.at(y, x) * LANES;
            for (int lane = 0; lane < LANES; lane += V::kCount) {
                const auto value = [&](int64_t i, int64_t j) {
                    typename V::Float v = V::load(in + (w.first + i * shape.pitch() + j) * LANES + lane);
                    if (RECTIFY) v += bias;
                    return v;
                };
                typename V::Float best = SIDE > 0 ? value(0, 0) : lowest;
                typename V::Int place =
                    typename V::Int{} + static_cast<int32_t>(w.top * pool.kernel_w + w.left);
                for (int64_t i = w.top; i < w.bottom; ++i)
                    for (int64_t j = w.left; j < w.right; ++j) {
                        if (SIDE > 0 && i + j == 0) continue;
                        const typename V::Float v = value(i, j);
                        const typename V::Int here =
                            typename V::Int{} + static_cast<int32_t>(i * pool.kernel_w + j);
                        const auto wins = (v > best) | (v != v);
                        best = wins ? v : best;
                        if (PLACES) place = wins ? here : place;
                    }
                if (RECTIFY) best = best < zero ? zero : best;
                V::store(out + at + lane, best);
                if (PLACES) V::store(places + at + lane, place);
            }
        }
}

template <bool RECTIFY>
void max_pool(const Blocked& shape, const Pool& pool, const float* input, const float* bias, float* output,
              uint8_t* places, int threads) {
    const int64_t plane_out = pool.plane() * shape.lanes;
    with_lanes(shape.lanes, [&](auto lanes) {
        parallel_for(shape.planes(), threads, [&](int64_t index) {
            float* out = output + index * plane_out;
            with_side(shape, pool, [&](auto side) {
                const auto pool_plane = places ? max_pool_plane<lanes, RECTIFY, side, true>
                                               : max_pool_plane<lanes, RECTIFY, side, false>;
                pool_plane(shape, pool, input + index * shape.plane() + shape.origin(),
                           bias ? bias[index % shape.channels] : 0.0f, out,
                           places ? places + index * plane_out : nullptr);
            });
            if (bias) clear_lanes(out, pool.plane(), lanes, shape.images(index / shape.channels));
        });
    });
}

void KERNEL(blocked_max_pool)(const Blocked& shape, const Pool& pool, const float* input, float* output,
                              uint8_t* places, int threads) {
    max_pool<false>(shape, pool, input, nullptr, output, places, threads);
}

void KERNEL(blocked_bias_relu_max_pool)(const Blocked& shape, const Pool& pool, const float* input,
                                        const float* bias, float* output, uint8_t* places, int threads) {
    max_pool<true>(shape, pool, input, bias, output, places, threads);
}

// Gradient of one plane. RECTIFY: a ReLU came before the pooling, of which `out` is the output, and the sum
// of what was passed on is returned; else `out` is not looked at, and 0 is returned.
template <int LANES, bool OVERLAPS, bool RECTIFY, int SIDE>
double max_pool_backward_plane(const Blocked& shape, const Pool& pool, const float* out,
                               const float* grad_out, const uint8_t* places, float* grad_in) {
    using V = Lanes<LANES>;
    const typename V::Float zero{};
    typename V::Float total{};
    double sum = 0;
    if (OVERLAPS || !tiles(shape, pool))
        std::fill(grad_in - shape.origin(), grad_in - shape.origin() + shape.plane(), 0.0f);
    for (int64_t y = 0; y < pool.h_out; ++y) {
        for (int64_t x = 0; x < pool.w_out; ++x) {
            const Window<SIDE> w(shape, pool, y, x);
            const int64_t at = pool.at(y, x) * LANES;
            for (int lane = 0; lane < LANES; lane += V::kCount) {
                typename V::Float g = V::load(grad_out + at + lane);
                if (RECTIFY) {
                    g = V::load(out + at + lane) <= zero ? zero : g;
                    total += g;
                }
                const typename V::Int place = V::load(places + at + lane);
                for (int64_t i = w.top; i < w.bottom; ++i)
                    for (int64_t j = w.left; j < w.right; ++j) {
                        float* target = grad_in + (w.first + i * shape.pitch() + j) * LANES + lane;
                        const typename V::Int here =
                            typename V::Int{} + static_cast<int32_t>(i * pool.kernel_w + j);
                        const typename V::Float share = place == here ? g : zero;
                        V::store(target, OVERLAPS ? V::load(target) + share : share);
                    }
            }
        }
        if (RECTIFY) {
            float parts[V::kCount];
            V::store(parts, total);
            for (float part : parts) sum += part;
            total = zero;
        }
    }
    return sum;
}

template <bool RECTIFY>
void max_pool_backward(const Blocked& shape, const Pool& pool, const float* output, const float* grad_output,
                       const uint8_t* places, float* grad_input, float* grad_bias, int threads) {
    const int64_t plane_out = pool.plane() * shape.lanes;
    with_lanes(shape.lanes, [&](auto lanes) {
        // A channel is one task: its sum has one order, whatever the number of threads.
        parallel_for(shape.channels, threads, [&](int64_t c) {
            double total = 0;
            for (int64_t b = 0; b < shape.blocks(); ++b) {
                const int64_t index = b * shape.channels + c;
                const auto plane = pool.overlaps() ? max_pool_backward_plane<lanes, true, RECTIFY, 0>
                                   : window_side(shape, pool) == 2
                                       ? max_pool_backward_plane<lanes, false, RECTIFY, 2>
                                       : max_pool_backward_plane<lanes, false, RECTIFY, 0>;
                total +=
                    plane(shape, pool, output + index * plane_out, grad_output + index * plane_out,
                          places + index * plane_out, grad_input + index * shape.plane() + shape.origin());
            }
            if (grad_bias) grad_bias[c] = static_cast<float>(total);
        });
    });
}

void KERNEL(blocked_max_pool_backward)(const Blocked& shape, const Pool& pool, const float* grad_output,
                                       const uint8_t* places, float* grad_input, int threads) {
    // Without a ReLU the output is not looked at.
    max_pool_backward<false>(shape, pool, grad_output, grad_output, places, grad_input, nullptr, threads);
}

void KERNEL(blocked_bias_relu_max_pool_backward)(const Blocked& shape, const Pool& pool, const float* output,
                                                 const float* grad_output, const uint8_t* places,
                                                 float* grad_input, float* grad_bias, int threads) {
    max_pool_backward<true>(shape, pool, output, grad_output, places, grad_input, grad_bias, threads);
}
