// Staging: a band of input rows is copied into scratch memory as whole vectors with its zero padding, so that
// the tile kernel meets one layout only: no borders, no strides, no batch tail. The copy also is the
// prefetch: it reads memory in order, and the kernel then works from cache. Strided tensors are transposed on
// the way, 16 images by 16 neighbours along whichever axis is contiguous, so a layer called with NCHW tensors
// never makes a full-size copy.
//
// Tried on a Xeon (model 207): fetching the 16 images 2 to 8 lines ahead, for reading or for writing: passes
// on NCHW operands took 0 to 12 % longer.

// Where staged vectors go: distances in floats.
struct Grid {
    float* data;
    int64_t channel, row;
    int64_t phase_columns;  // columns of one phase of the column stride
    int64_t phases;
    float* at(int64_t c, int64_t y, int64_t x) const {
        if (phases == 1) return data + c * channel + y * row + x * kLanes;  // no division
        return data + c * channel + y * row + (x % phases * phase_columns + x / phases) * kLanes;
    }
};

// Between `lanes` images, whose floats lie `lane` apart, and the vectors of `length` elements that lie side
// by side in each image, through transposes; place(i) is the vector of element i. gather_axis makes the other
// lanes zero and asks for each place once, in order.
template <class Place>
inline void gather_axis(const float* in, int64_t lane, int lanes, int64_t length, const Place& place) {
    const Vec zero = broadcast(0.0f);
    for (int64_t i = 0; i < length; i += kLanes) {
        const int count = static_cast<int>(std::min<int64_t>(kLanes, length - i));
        Vec v[kLanes];
        if (count == kLanes && lanes == kLanes)
            for (int k = 0; k < kLanes; ++k) v[k] = load(in + i + k * lane);
        else
            for (int k = 0; k < kLanes; ++k) v[k] = k < lanes ? load_first(in + i + k * lane, count) : zero;
        transpose(v);
        for (int k = 0; k < count; ++k) store(place(i + k), v[k]);
    }
}

template <class Place>
inline void scatter_axis(float* out, int64_t lane, int lanes, int64_t length, const Place& place) {
    for (int64_t i = 0; i < length; i += kLanes) {
        const int count = static_cast<int>(std::min<int64_t>(kLanes, length - i));
        Vec v[kLanes];
        for (int k = 0; k < kLanes; ++k) v[k] = load(place(i + std::min(k, count - 1)));
        transpose(v);
        for (int k = 0; k < lanes; ++k)
            if (count == kLanes)
                store(out + i + k * lane, v[k]);
            else
                store_first(out + i + k * lane, v[k], count);
    }
}

inline Vec load_lanes(const float* p, int64_t stride, int lanes) {
    float buffer[kLanes] = {};
    for (int i = 0; i < lanes; ++i) buffer[i] = p[i * stride];
    return load(buffer);
}

inline void store_lanes(float* p, int64_t stride, int lanes, const Vec& v) {
    float buffer[kLanes];
    store(buffer, v);
    for (int i = 0; i < lanes; ++i) p[i * stride] = buffer[i];
}

// Copies operand rows [y0, y1), columns [x0, x1) of channels [c0, c1) of one block into the grid, where pixel
// (y0, x0) of the operand is pixel (row, column).
inline void stage_pixels(const View& source, int64_t block, int64_t c0, int64_t c1, int64_t y0, int64_t y1,
                         int64_t x0, int64_t x1, const Grid& grid, int64_t row, int64_t column) {
    const int64_t width = x1 - x0;
    if (source.whole_vectors || source.lane == 1) {
        for (int64_t c = c0; c < c1; ++c)
            for (int64_t y = y0; y < y1; ++y) {
                const float* in = source.at(block, c, y, x0);
                if (source.whole_vectors)
                    for (int64_t x = 0; x < std::min(width, grid.phases); ++x) {
                        float* out = grid.at(c, row + y - y0, column + x);
                        for (int64_t i = x; i < width; i += grid.phases, out += kLanes)
                            store(out, load(in + i * source.column));
                    }
                else
                    for (int64_t x = 0; x < width; ++x, in += source.column)
                        store(grid.at(c, row + y - y0, column + x), load_first(in, source.lanes(block)));
            }
    } else if (source.channel == 1 && source.column != 1) {
        for (int64_t y = y0; y < y1; ++y)
            for (int64_t x = x0; x < x1; ++x) {
                float* out = grid.at(c0, row + y - y0, column + x - x0);
                gather_axis(source.at(block, c0, y, x), source.lane, source.lanes(block), c1 - c0,
                            [&](int64_t i) { return out + i * grid.channel; });
            }
    } else if (source.column == 1) {
        // Whole rows that follow one another are one run; else a run is a row.
        const bool joined = source.row == width;
        const int64_t run_rows = joined ? y1 - y0 : 1;
        for (int64_t c = c0; c < c1; ++c)
            for (int64_t y = y0; y < y1; y += run_rows) {
                int64_t at_x = 0, at_y = row + y - y0;
                gather_axis(source.at(block, c, y, x0), source.lane, source.lanes(block), run_rows * width,
                            [&](int64_t) {
                                float* out = grid.at(c, at_y, column + at_x);
                                if (++at_x == width) at_x = 0, ++at_y;
                                return out;
                            });
            }
    } else {
        for (int64_t c = c0; c < c1; ++c)
            for (int64_t y = y0; y < y1; ++y)
                for (int64_t x = x0; x < x1; ++x)
                    store(grid.at(c, row + y - y0, column + x - x0),
                          load_lanes(source.at(block, c, y, x), source.lane, source.lanes(block)));
    }
}

inline void clear_vectors(float* p, int64_t count) {
    const Vec zero = broadcast(0.0f);
    for (int64_t i = 0; i < count; ++i) store(p + i * kLanes, zero);
}

// `rows` rows of every channel, from operand row `first`; channels of the copy are `channel_pitch` vectors
// apart.
inline void stage(const View& source, int64_t block, const Stage& shape, int64_t first, int64_t rows,
                  int64_t channel_pitch, float* target) {
    const Grid grid{target, channel_pitch * kLanes, shape.row_pitch() * kLanes, shape.columns, shape.phases};
    const int64_t y0 = std::clamp<int64_t>(first, 0, source.height);
    const int64_t y1 = std::clamp<int64_t>(first + rows, y0, source.height);
    const int64_t x0 = std::clamp<int64_t>(shape.column_first, 0, source.width);
    const int64_t x1 = std::clamp<int64_t>(shape.column_first + shape.row_pitch(), x0, source.width);
    // A band, or a row, may lie beside the image altogether.
    const int64_t top = std::clamp<int64_t>(y0 - first, 0, rows), bottom = rows - top - (y1 - y0);
    const int64_t left = std::clamp<int64_t>(x0 - shape.column_first, 0, shape.row_pitch());
    const int64_t right = shape.row_pitch() - left - (x1 - x0);
    // Channel by channel, so that the borders of a channel are written while it is in L1.
    const bool by_channel = !(source.channel == 1 && source.lane != 1);
    if (!by_channel) stage_pixels(source, block, 0, shape.channels, y0, y1, x0, x1, grid, top, left);
    for (int64_t c = 0; c < shape.channels; ++c) {
        float* plane = target + c * grid.channel;
        clear_vectors(plane, top * shape.row_pitch());
        for (int64_t y = top; y < rows - bottom; ++y) {
            if (shape.phases == 1) {
                clear_vectors(plane + y * grid.row, left);
                clear_vectors(plane + y * grid.row + (left + x1 - x0) * kLanes, right);
                continue;
            }
            for (int64_t x = 0; x < left; ++x) clear_vectors(grid.at(c, y, x), 1);
            for (int64_t x = 0; x < right; ++x) clear_vectors(grid.at(c, y, left + x1 - x0 + x), 1);
        }
        clear_vectors(plane + (rows - bottom) * grid.row, bottom * shape.row_pitch());
        if (by_channel) stage_pixels(source, block, c, c + 1, y0, y1, x0, x1, grid, top, left);
    }
}

// Writes rows [first, first + rows) of channels [c0, c1) from a copy (channel, row, column, lane).
inline void unstage(float* copy, const View& target, int64_t block, int64_t c0, int64_t c1, int64_t first,
                    int64_t rows, int64_t channel_pitch) {
    const int64_t width = target.width;
    const auto vector = [&](int64_t c, int64_t y, int64_t x) {
        return copy + (c * channel_pitch + y * width + x) * kLanes;
    };
    if (target.lane != 1 && target.channel == 1 && target.column != 1) {
        for (int64_t y = 0; y < rows; ++y)
            for (int64_t x = 0; x < width; ++x)
                scatter_axis(target.at(block, c0, first + y, x), target.lane, target.lanes(block), c1 - c0,
                             [&](int64_t i) { return vector(c0 + i, y, x); });
    } else if (target.lane != 1 && target.column == 1) {
        const bool joined = target.row == width;
        const int64_t run_rows = joined ? rows : 1;
        for (int64_t c = c0; c < c1; ++c)
            for (int64_t y = 0; y < rows; y += run_rows)
                scatter_axis(target.at(block, c, first + y, 0), target.lane, target.lanes(block),
                             run_rows * width, [&](int64_t i) { return vector(c, y, 0) + i * kLanes; });
    } else {
        for (int64_t c = c0; c < c1; ++c)
            for (int64_t y = 0; y < rows; ++y)
                for (int64_t x = 0; x < width; ++x)
                    store_lanes(target.at(block, c, first + y, x), target.lane, target.lanes(block),
                                load(vector(c, y, x)));
    }
}

// The lanes past the batch hold zeros by contract, whatever bias or infinite weights made of them.
inline void clear_tail(const View& target, int64_t block, int64_t c_first, int64_t c_last, int64_t first,
                       int64_t rows) {
    const int lanes = target.lanes(block);
    if (lanes >= target.stored_lanes) return;
    for (int64_t c = c_first; c < c_last; ++c)
        for (int64_t y = first; y < first + rows; ++y)
            for (int64_t x = 0; x < target.width; ++x)
                std::fill(target.at(block, c, y, x) + lanes, target.at(block, c, y, x) + target.stored_lanes,
                          0.0f);
}
