// A convolution with the bias, ReLU and 2 x 2 max-pooling behind it: the output of the convolution is the
// largest map of a small network, and is only looked at to be pooled. So a band of it is pooled out of L2,
// and on the way back a band of its gradient is made there for the products with the input: the map never
// goes through memory. The numbers are those of the pass of its own (blocked_pool.inl.h).

// Whether windows of 2 x 2 cover the whole image.
inline bool pools_bands(const Blocked& map, const Pool& pool) {
    return window_side(map, pool) == 2 && tiles(map, pool);
}

// The rows [first, first + rows) of a map, as an image of their own.
struct PoolBand {
    Blocked shape;
    Pool pool;
    int64_t plane, skipped;  // of the pooled map, in vectors

    PoolBand(const Pooling& p, const View& map, int64_t first, int64_t rows)
        : shape{map.n, map.channels, rows, map.width, kLanes},
          pool(p.pool),
          plane(p.pool.plane()),
          skipped(first / 2 * p.pool.pitch()) {
        pool.h_out = rows / 2;
    }
    // Of channel c of block b, in elements.
    int64_t at(int64_t b, int64_t c) const { return ((b * shape.channels + c) * plane + skipped) * kLanes; }
};

// channel: floats from channel to channel of the band.
inline void pool_band(const Pooling& p, const View& map, int64_t b, int64_t c0, int64_t c1, int64_t first,
                      int64_t rows, const float* band, int64_t channel) {
    const PoolBand cut(p, map, first, rows);
    for (int64_t c = c0; c < c1; ++c) {
        float* const out = p.output + cut.at(b, c);
        const auto pool_plane =
            p.places ? max_pool_plane<kLanes, true, 2, true> : max_pool_plane<kLanes, true, 2, false>;
        pool_plane(cut.shape, cut.pool, band + c * channel, p.bias ? p.bias[c] : 0.0f, out,
                   p.places ? p.places + cut.at(b, c) : nullptr);
        for (int64_t y = 0; y < cut.pool.h_out; ++y)
            clear_lanes(out + cut.pool.at(y, 0) * kLanes, cut.pool.w_out, kLanes, map.lanes(b));
    }
}

// Writes the gradient of a band and adds to that of the bias.
inline void unpool_band(const Pooling& p, const View& map, int64_t b, int64_t c0, int64_t c1, int64_t first,
                        int64_t rows, float* band, int64_t channel, float* grad_bias) {
    const PoolBand cut(p, map, first, rows);
    for (int64_t c = c0; c < c1; ++c) {
        const int64_t at = cut.at(b, c);
        const double sum = max_pool_backward_plane<kLanes, false, true, 2>(
            cut.shape, cut.pool, p.output + at, p.grad_output + at, p.places + at, band + c * channel);
        if (grad_bias) grad_bias[c] += static_cast<float>(sum);
    }
}
