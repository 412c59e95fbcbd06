// Staging: a band of input rows is copied into scratch memory as whole vectors with its zero padding, so that
// the tile kernel meets one layout only: no borders, no strides, no batch tail. The copy also is the
// prefetch: it reads memory in order, and the kernel then works from cache. It costs about two moves per
// vector against (kept weights per input channel) multiply-adds.

inline Vec load_lanes(const float* p, int64_t stride, int lanes) {
    alignas(64) float buffer[kLanes] = {};
    for (int i = 0; i < lanes; ++i) buffer[i] = p[i * stride];
    return load(buffer);
}

inline void store_lanes(float* p, int64_t stride, int lanes, const Vec& v) {
    alignas(64) float buffer[kLanes];
    store(buffer, v);
    for (int i = 0; i < lanes; ++i) p[i * stride] = buffer[i];
}

// `rows` rows of every channel, from operand row `first`; channels of the copy are `channel_pitch` vectors
// apart.
inline void stage(const View& source, int64_t block, const Stage& shape, int64_t first, int64_t rows,
                  int64_t channel_pitch, float* target) {
    const Vec zero = broadcast(0.0f);
    const int64_t width = source.columns(block);
    for (int64_t c = 0; c < shape.channels; ++c) {
        float* out = target + c * channel_pitch * kLanes;
        for (int64_t y = first; y < first + rows; ++y)
            for (int64_t phase = 0; phase < shape.phases; ++phase)
                for (int64_t j = 0; j < shape.columns; ++j, out += kLanes) {
                    const int64_t x = shape.column_first + j * shape.phases + phase;
                    if (y < 0 || y >= source.height || x < 0 || x >= width) {
                        store(out, zero);
                        continue;
                    }
                    const float* in = source.at(block, c, y, x);
                    store(out, source.whole_vectors ? load(in)
                                                    : load_lanes(in, source.lane, source.lanes(block, x)));
                }
    }
}

// Writes rows [first, first + rows) of channels [c_first, c_last) from a copy (channel, row, column, lane).
inline void unstage(const float* copy, const View& target, int64_t block, int64_t c_first, int64_t c_last,
                    int64_t first, int64_t rows, int64_t channel_pitch) {
    for (int64_t c = c_first; c < c_last; ++c)
        for (int64_t y = 0; y < rows; ++y)
            for (int64_t x = 0; x < target.columns(block); ++x)
                store_lanes(target.at(block, c, first + y, x), target.lane, target.lanes(block, x),
                            load(copy + (c * channel_pitch + y * target.width + x) * kLanes));
}

// The lanes past the batch hold zeros by contract, whatever bias or infinite weights made of them.
inline void clear_tail(const View& target, int64_t block, int64_t c_first, int64_t c_last, int64_t first,
                       int64_t rows) {
    for (int64_t x = 0; x < target.columns(block); ++x) {
        const int lanes = target.lanes(block, x);
        if (lanes >= target.stored_lanes) continue;
        for (int64_t c = c_first; c < c_last; ++c)
            for (int64_t y = first; y < first + rows; ++y)
                for (int lane = lanes; lane < target.stored_lanes; ++lane)
                    target.at(block, c, y, x)[lane] = 0.0f;
    }
}
