// The features of a linear layer as its kernels over the batch meet them: block by block, each with the kept
// weights of every row that fall into it.

constexpr int kLinearColumns = kTileVectors >= 20 ? 8 : 4;
constexpr int64_t kFeatureVectors = 384;  // of a block of features, 24 KB: most of a 32 KB L1 ...
constexpr int64_t kSegmentProducts =
    96;                                // ... or more, where a row would have fewer than these products there;
constexpr int64_t kSegmentSums = 32;   // backward_input, whose block is read and written, rather stays in L1
constexpr int64_t kSegmentsAhead = 4;  // whose weights are fetched
constexpr int64_t kCopyUses = 16;      // uses of a feature that pay for laying its vectors side by side

// Vectors of features: floats from one feature, and from 16 images, to the next.
struct Features {
    float* data;
    int64_t feature, block;
    float* at(int64_t c, int64_t j) const { return data + c * feature + j * block; }
};

inline Features features_of(const View& v, int64_t b0) { return {v.at(b0, 0, 0, 0), v.channel, v.block}; }
inline Features copied_features(float* data, int64_t columns) { return {data, columns * kLanes, kLanes}; }

// Many vectors of a feature far apart share sets of L1: a copy pays where each is used often.
inline bool wants_copy(const View& v, const Pattern& p, int64_t columns) {
    return !v.whole_vectors || (columns > 1 && p.nnz > kCopyUses * p.c_in_group * p.groups);
}

// Features [c0, c1) of `columns` batch blocks into a copy, and out of one.
inline void copy_in(const View& v, int64_t b0, int64_t columns, int64_t c0, int64_t c1, const Features& to) {
    for (int64_t j = 0; j < columns; ++j) {
        const float* const in = v.at(b0 + j, c0, 0, 0);
        const int lanes = v.lanes(b0 + j);
        if (v.whole_vectors)
            for (int64_t c = 0; c < c1 - c0; ++c) store(to.at(c, j), load(in + c * v.channel));
        else if (v.channel == 1)
            gather_axis(in, v.lane, lanes, c1 - c0, [&](int64_t c) { return to.at(c, j); });
        else
            for (int64_t c = 0; c < c1 - c0; ++c)
                store(to.at(c, j), v.lane == 1 ? load_first(in + c * v.channel, lanes)
                                               : load_lanes(in + c * v.channel, v.lane, lanes));
    }
}

inline void copy_out(const Features& from, const View& v, int64_t b0, int64_t columns, int64_t c0,
                     int64_t c1) {
    for (int64_t j = 0; j < columns; ++j) {
        float* const out = v.at(b0 + j, c0, 0, 0);
        const int lanes = v.lanes(b0 + j);
        if (v.whole_vectors)
            for (int64_t c = 0; c < c1 - c0; ++c) store(out + c * v.channel, load(from.at(c, j)));
        else if (v.channel == 1)
            scatter_axis(out, v.lane, lanes, c1 - c0, [&](int64_t c) { return from.at(c, j); });
        else
            for (int64_t c = 0; c < c1 - c0; ++c)
                store_lanes(out + c * v.channel, v.lane, lanes, load(from.at(c, j)));
        clear_tail(v, b0 + j, c0, c1, 0, 1);
    }
}

// The features of one block after another, in the operand or in a copy.
struct FeatureReader {
    const View& view;
    int64_t b0, columns, channel0;  // channel0: of the group
    bool copies;
    Features features;

    FeatureReader(const View& v, const Pattern& p, int64_t first_block, int64_t count, int64_t group)
        : view(v),
          b0(first_block),
          columns(count),
          channel0(group * p.c_in_group),
          copies(wants_copy(v, p, count)),
          features{v.at(b0, channel0, 0, 0), v.channel, v.block} {}

    // Feature 0 of the result is that of the group, whether it is there or not.
    const Features& read(int64_t first, int64_t last) {
        if (copies) {
            features =
                copied_features(scratch(Use::kInput).floats((last - first) * columns * kLanes), columns);
            copy_in(view, b0, columns, channel0 + first, channel0 + last, features);
            features.data -= first * features.feature;
        }
        return features;
    }
};

// The weights of one row that meet one block of features.
struct Segment {
    int64_t row, first, last;
};

// The features of a block.
struct FeatureBlock {
    int64_t first, last;  // features, within their group
    bool opens, closes;
};

// For features [c0, c1) of a group, block by block: enter(block), body(segment, nonzero to fetch ahead) for
// each of the rows [r0, r1), leave(block).
template <class Enter, class Body, class Leave>
inline void for_blocks(const Pattern& p, int64_t columns, int64_t products, int64_t r0, int64_t r1,
                       int64_t c0, int64_t c1, const Enter& enter, const Body& body, const Leave& leave) {
    if (r0 >= r1 || c0 > c1) return;
    const int32_t* const places = p.places;
    const int64_t rich = products * p.c_out * p.c_in_group / std::max<int64_t>(p.nnz * columns, 1) + 1;
    const int64_t width = std::max<int64_t>(even_part(c1 - c0, std::max(kFeatureVectors / columns, rich)), 1);
    int32_t* const cursors =
        reinterpret_cast<int32_t*>(scratch(Use::kEntries).floats(r1 - r0 + kSegmentsAhead));
    for (int64_t r = r0; r < r1; ++r)
        cursors[r - r0] = static_cast<int32_t>(
            c0 ? std::lower_bound(places + p.rows[r], places + p.rows[r + 1], c0) - places : p.rows[r]);
    std::fill_n(cursors + (r1 - r0), kSegmentsAhead, 0);
    for (int64_t c = c0; c < c1 || c == c0; c += width) {
        const FeatureBlock block{c, std::min(c + width, c1), c == c0, c + width >= c1};
        enter(block);
        for (int64_t r = r0; r < r1; ++r) {
            const int64_t ahead = cursors[r - r0 + kSegmentsAhead];
            __builtin_prefetch(places + ahead);
            __builtin_prefetch(places + ahead + 16);
            const int32_t first = cursors[r - r0], end = p.rows[r + 1];
            int32_t last = first;
            if (block.last == p.c_in_group)
                last = end;
            else
                while (last < end && places[last] < block.last) ++last;
            cursors[r - r0] = last;
            body(Segment{r, first, last}, ahead);
        }
        leave(block);
    }
}
