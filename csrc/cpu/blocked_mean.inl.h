// Average poolings.

template <int LANES, int SIDE>
void average_pool_plane(const Blocked& shape, const Pool& pool, float share, const float* in, float* out) {
    using V = Lanes<LANES>;
    for (int64_t y = 0; y < pool.h_out; ++y)
        for (int64_t x = 0; x < pool.w_out; ++x) {
            const Window<SIDE> w(shape, pool, y, x);
            float* const mean = out + pool.at(y, x) * LANES;
            for (int lane = 0; lane < LANES; lane += V::kCount) {
                typename V::Float total{};
                for (int64_t i = w.top; i < w.bottom; ++i)
                    for (int64_t j = w.left; j < w.right; ++j)
                        total += V::load(in + (w.first + i * shape.pitch() + j) * LANES + lane);
                V::store(mean + lane, total * share);
            }
        }
}

// Adds to `grad_in`; windows side by side (SIDE > 0) write instead.
template <int LANES, int SIDE>
void average_pool_backward_plane(const Blocked& shape, const Pool& pool, float share, const float* grad_out,
                                 float* grad_in) {
    using V = Lanes<LANES>;
    for (int64_t y = 0; y < pool.h_out; ++y)
        for (int64_t x = 0; x < pool.w_out; ++x) {
            const Window<SIDE> w(shape, pool, y, x);
            const float* const g_out = grad_out + pool.at(y, x) * LANES;
            for (int lane = 0; lane < LANES; lane += V::kCount) {
                const typename V::Float g = V::load(g_out + lane) * share;
                for (int64_t i = w.top; i < w.bottom; ++i)
                    for (int64_t j = w.left; j < w.right; ++j) {
                        float* target = grad_in + (w.first + i * shape.pitch() + j) * LANES + lane;
                        V::store(target, SIDE > 0 ? g : V::load(target) + g);
                    }
            }
        }
}

void KERNEL(blocked_average_pool)(const Blocked& shape, const Pool& pool, const float* input, float* output,
                                  int threads) {
    const float share = 1.0f / static_cast<float>(pool.kernel_h * pool.kernel_w);
    const int64_t plane_out = pool.plane() * shape.lanes;
    with_lanes(shape.lanes, [&](auto lanes) {
        with_side(shape, pool, [&](auto side) {
            parallel_for(shape.planes(), threads, [&](int64_t index) {
                average_pool_plane<lanes, side>(shape, pool, share,
                                                input + index * shape.plane() + shape.origin(),
                                                output + index * plane_out);
            });
        });
    });
}

void KERNEL(blocked_average_pool_backward)(const Blocked& shape, const Pool& pool, const float* grad_output,
                                           float* grad_input, int threads) {
    const float share = 1.0f / static_cast<float>(pool.kernel_h * pool.kernel_w);
    const int64_t plane_out = pool.plane() * shape.lanes;
    with_lanes(shape.lanes, [&](auto lanes) {
        with_side(shape, pool, [&](auto side) {
            parallel_for(shape.planes(), threads, [&](int64_t index) {
                float* grad_in = grad_input + index * shape.plane();
                if (!side || !tiles(shape, pool)) std::fill(grad_in, grad_in + shape.plane(), 0.0f);
                average_pool_backward_plane<lanes, side>(shape, pool, share, grad_output + index * plane_out,
                                                         grad_in + shape.origin());
            });
        });
    });
}

void KERNEL(blocked_global_average_pool)(const Blocked& shape, const float* input, float* output,
                                         int threads) {
    with_lanes(shape.lanes, [&](auto lanes) {
        using V = Lanes<lanes>;
        parallel_for(shape.planes(), threads, [&](int64_t index) {
            const float* in = input + index * shape.plane() + shape.origin();
            const float pixels = static_cast<float>(shape.pixels());
            for (int lane = 0; lane < lanes; lane += V::kCount) {
                typename V::Float total{};
                for (int64_t y = 0; y < shape.height; ++y)
                    for (int64_t x = 0; x < shape.width; ++x)
                        total += V::load(in + (y * shape.pitch() + x) * lanes + lane);
                V::store(output + index * lanes + lane, total / pixels);
            }
        });
    });
}

void KERNEL(blocked_global_average_pool_backward)(const Blocked& shape, const float* grad_output,
                                                  float* grad_input, int threads) {
    with_lanes(shape.lanes, [&](auto lanes) {
        using V = Lanes<lanes>;
        parallel_for(shape.planes(), threads, [&](int64_t index) {
            float* grad_in = grad_input + index * shape.plane() + shape.origin();
            const float pixels = static_cast<float>(shape.pixels());
            for (int lane = 0; lane < lanes; lane += V::kCount) {
                const typename V::Float g = V::load(grad_output + index * lanes + lane) / pixels;
                for (int64_t y = 0; y < shape.height; ++y)
                    for (int64_t x = 0; x < shape.width; ++x)
                        V::store(grad_in + (y * shape.pitch() + x) * lanes + lane, g);
            }
        });
    });
}
