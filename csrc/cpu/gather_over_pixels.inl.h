// Small batches: the images of a batch below 16 fill a vector only in part, so a vector takes several pixels.
//
// Idea: a channel is staged with its zero padding, images innermost, and is then seen as one flat line of
// floats. A tap is a shift along that line, whatever row a pixel is in, so an output channel is one line too,
// and is worked off in whole vectors from its first pixel to its last. What lies in the padding between two
// rows is computed along and dropped: a share of (kw - 1) / (w + kw - 1), while vectors within rows would be
// masked at each row end. A stride splits the line into phases, as in gather.inl.h. Price: most loads cross a
// cache line. Tried: 16 lanes whatever the batch (over_batch): at a batch of 2 it multiplies 7 zeros for each
// number.

constexpr int64_t kLineTileVectors = 384;  // input of a tile: 24 KB, most of a 32 KB L1

// Pixels at (i, j) of the line hold `lanes` floats at i * pitch + j * lanes.
struct Line {
    int64_t lanes;
    int64_t rows, columns;  // staged pixels of one phase
    int64_t phases_h, phases_w;
    int64_t pitch, phase, channel;  // floats
    int64_t vectors;                // of an output channel

    Line(const Gather& g, int64_t n)
        : lanes(n <= 1   ? 1
                : n <= 2 ? 2
                : n <= 4 ? 4
                         : 8),
          rows(g.rows + (g.stage.row_span - 1) / g.stage.row_step),
          columns(g.stage.columns),
          phases_h(g.stage.row_step),
          phases_w(g.stage.phases),
          pitch(columns * lanes),
          phase(rows * pitch),
          channel((phases_h * phases_w * phase + 2 * kLanes - 1) / kLanes * kLanes) {
        int64_t last_column = 1;
        for (const PixelClass& c : g.classes) last_column = std::max(last_column, c.columns_to);
        vectors = ((g.rows - 1) * pitch + last_column * lanes + kLanes - 1) / kLanes;
    }

    // What a place is in floats.
    std::vector<Place> table(const PixelClass& c) const {
        std::vector<Place> places = c.table;
        for (Place& place : places) {
            if (place.row < 0) continue;
            place.column_phase += static_cast<int32_t>(place.row % phases_h * phases_w);
            place.row /= static_cast<int32_t>(phases_h);
            place.column *= static_cast<int32_t>(lanes);
        }
        return places;
    }

    Plan plan(const Gather& g, const PixelClass& c, int64_t tile_vectors) const {
        const int64_t reach = (g.stage.row_span - 1) / phases_h * pitch + columns * lanes / 4;
        const int64_t tile = phases_h * phases_w * (tile_vectors * kLanes + reach);
        const int64_t block = std::max<int64_t>(kLineTileVectors * kLanes / tile, 1);
        return make_plan(g.row_count, g.rows_per_group, g.channels_per_group, g.starts, g.places,
                         g.permutation, g.values, table(c), block, channel, pitch, phase);
    }
};

// Whether images lie innermost already, as many as the line has lanes.
inline bool same_lanes(const View& v, int64_t lanes) {
    return v.column == lanes && (lanes == 1 || (v.lane == 1 && (v.stored_lanes == lanes || v.n == lanes)));
}

// A row of pixels from the operand to the line; lanes past the batch become zero.
inline void to_line(const View& v, const float* in, int64_t column_step, int64_t count, int64_t lanes,
                    float* out) {
    if (same_lanes(v, lanes) && column_step == 1) {
        std::copy(in, in + count * lanes, out);
        return;
    }
    if (v.n < lanes) std::fill(out, out + count * lanes, 0.0f);
    if (v.column * column_step == 1) return transpose(in, v.lane, out, lanes, v.n, count);
    for (int64_t j = 0; j < count; ++j)
        for (int64_t lane = 0; lane < v.n; ++lane)
            out[j * lanes + lane] = in[j * column_step * v.column + lane * v.lane];
}

// And back; stored lanes past the batch become zero.
inline void from_line(const View& v, const float* in, int64_t column_step, int64_t count, int64_t lanes,
                      float* out) {
    if (v.n == lanes && same_lanes(v, lanes) && column_step == 1) {
        std::copy(in, in + count * lanes, out);
        return;
    }
    if (v.column * column_step == 1 && v.stored_lanes == 0)
        return transpose(in, lanes, out, v.lane, count, v.n);
    const int64_t step = column_step * v.column;
    for (int64_t j = 0; j < count; ++j) {
        for (int64_t lane = 0; lane < v.n; ++lane) out[j * step + lane * v.lane] = in[j * lanes + lane];
        for (int64_t lane = v.n; lane < v.stored_lanes; ++lane) out[j * step + lane * v.lane] = 0.0f;
    }
}

// Stages channel c of the operand: what lies outside the image is zero.
inline void stage_line(const View& v, const Stage& s, const Line& line, int64_t c, float* out) {
    std::fill(out, out + line.channel, 0.0f);
    for (int64_t p = 0; p < line.phases_h; ++p)
        for (int64_t q = 0; q < line.phases_w; ++q, out += line.phase) {
            // Columns j with 0 <= first + j * phases < width.
            const int64_t first = s.column_first + q, step = line.phases_w;
            const int64_t from = first >= 0 ? 0 : (-first + step - 1) / step;
            const int64_t to =
                std::min(line.columns, first >= v.width ? 0 : (v.width - first + step - 1) / step);
            for (int64_t i = 0; i < line.rows && from < to; ++i) {
                const int64_t y = s.row_first + i * line.phases_h + p;
                if (y < 0 || y >= v.height) continue;
                to_line(v, v.at(0, c, y, first + from * step), step, to - from, line.lanes,
                        out + i * line.pitch + from * line.lanes);
            }
        }
}

// As the tile kernel of tile.inl.h, for adjacent vectors.
template <int VECTORS>
void tile_over_pixels(const float* input, float* output, const Entry* entry, const Entry* end, bool opens,
                      float bias, bool rectify) {
    constexpr int CHAINS = chains(VECTORS);
    Vec sums[CHAINS][VECTORS];
    const Vec start = broadcast(bias), zero = broadcast(0.0f);
    SPARSEFIT_UNROLL for (int v = 0; v < VECTORS; ++v) sums[0][v] = opens ? start : load(output + v * kLanes);
    SPARSEFIT_UNROLL for (int k = 1; k < CHAINS; ++k) SPARSEFIT_UNROLL for (int v = 0; v < VECTORS; ++v)
        sums[k][v] = zero;
    const auto add_entry = [&](Vec(&chain)[VECTORS], const Entry& e) {
        const Vec weight = broadcast(e.value);
        const float* in = input + e.offset;
        SPARSEFIT_UNROLL for (int v = 0; v < VECTORS; ++v) chain[v] =
            fma(weight, load(in + v * kLanes), chain[v]);
    };
    for (; end - entry >= CHAINS; entry += CHAINS)
        SPARSEFIT_UNROLL for (int k = 0; k < CHAINS; ++k) add_entry(sums[k], entry[k]);
    for (; CHAINS > 1 && entry < end; ++entry) add_entry(sums[0], *entry);
    SPARSEFIT_UNROLL for (int k = 1; k < CHAINS; ++k) SPARSEFIT_UNROLL for (int v = 0; v < VECTORS; ++v)
        sums[0][v] = add(sums[0][v], sums[k][v]);
    SPARSEFIT_UNROLL for (int v = 0; v < VECTORS; ++v)
        store(output + v * kLanes, rectify ? relu(sums[0][v]) : sums[0][v]);
}

using TileOverPixels = void (*)(const float*, float*, const Entry*, const Entry*, bool, float, bool);
template <int... I>
constexpr void fill_tiles_over_pixels(TileOverPixels (&table)[kTileVectors],
                                      std::integer_sequence<int, I...>) {
    ((table[I] = tile_over_pixels<I + 1>), ...);
}
struct TilesOverPixels {
    TileOverPixels kernel[kTileVectors];
    constexpr TilesOverPixels() : kernel{} {
        fill_tiles_over_pixels(kernel, std::make_integer_sequence<int, kTileVectors>());
    }
};
constexpr TilesOverPixels kTilesOverPixels;

inline void gather_over_pixels(const Gather& g, int threads) {
    const View &in = g.input, &out = g.output;
    if (out.n == 0 || g.rows <= 0) return;
    const Line line(g, out.n);
    const int64_t tile = even_part(line.vectors, kTileVectors);
    std::vector<Plan> plans;
    for (const PixelClass& c : g.classes) plans.push_back(line.plan(g, c, tile));

    float* staged = scratch(Use::kInput).floats(g.stage.channels * line.channel);
    parallel_for(g.stage.channels, threads,
                 [&](int64_t c) { stage_line(in, g.stage, line, c, staged + c * line.channel); });
    const int64_t out_channel = line.vectors * kLanes;
    float* outputs = scratch(Use::kOutput).floats(g.row_count * out_channel);

    // Each output channel belongs to one task: equal bits for any number of threads.
    const int64_t parts = std::min<int64_t>(threads, g.row_count);
    const std::vector<int64_t> part_rows = balanced_rows(g.starts, g.row_count, parts);
    parallel_for(parts, threads, [&](int64_t part) {
        const int64_t c0 = part_rows[part], c1 = part_rows[part + 1];
        for (size_t k = 0; k < g.classes.size(); ++k) {
            const PixelClass& pixels = g.classes[k];
            const Plan& plan = plans[k];
            for (int64_t v = 0; v < line.vectors; v += tile) {
                const TileOverPixels kernel = kTilesOverPixels.kernel[std::min(tile, line.vectors - v) - 1];
                for (const Cell& cell : plan.cells) {
                    if (cell.row < c0 || cell.row >= c1) continue;
                    const Entry* entry = plan.entries.data() + cell.entry;
                    kernel(staged + v * kLanes, outputs + cell.row * out_channel + v * kLanes, entry,
                           entry + cell.count, cell.opens, cell.opens && g.bias ? g.bias[cell.row] : 0.0f,
                           cell.closes && g.relu);
                }
            }
            for (int64_t c = c0; c < c1; ++c)
                for (int64_t i = pixels.rows_from; i < pixels.rows_to; ++i)
                    from_line(out,
                              outputs + c * out_channel + i * line.pitch + pixels.columns_from * line.lanes,
                              pixels.step_column, pixels.columns_to - pixels.columns_from, line.lanes,
                              out.at(0, c, pixels.first_row + i * pixels.step_row,
                                     pixels.first_column + pixels.columns_from * pixels.step_column));
        }
    });
}
