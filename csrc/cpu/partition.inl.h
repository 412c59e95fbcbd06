// How the work of a gather convolution is cut: bands, tiles, parts of about equal cost.

constexpr int64_t kStageVectors = 8192;     // staged band, 512 KB: half of a 1 MB L2
constexpr int64_t kInputTileVectors = 384;  // input tile, 24 KB: most of a 32 KB L1
constexpr int64_t kCellWeights = 18;        // per cell; fewer would mostly load and store partial sums ...
constexpr int64_t kInputTileLimit = 2816;   // ... so the input tile may be larger when few weights are kept

constexpr int64_t kCopyWeights = 16;  // per input channel; for fewer, a copy costs more than L1 misses

struct TileShape {
    int64_t rows, columns;
};

// A part size that splits `total` evenly, each part at most `limit` (and at least 1).
inline int64_t even_part(int64_t total, int64_t limit) {
    limit = std::clamp<int64_t>(limit, 1, std::max<int64_t>(total, 1));
    const int64_t parts = std::max<int64_t>((total + limit - 1) / limit, 1);
    return (total + parts - 1) / parts;
}

// Columns are split evenly, rows fill the registers that are left. Two rows of 8 pixels need a smaller input
// tile than one row of 16, and are as fast; 24 accumulators were 5 % slower.
inline TileShape tile_shape(int64_t rows, int64_t columns) {
    constexpr int64_t limit = std::min(kTileVectors, 16);
    const int64_t width = even_part(columns, rows > 1 && limit >= 6 ? limit / 2 : limit);
    return {std::min<int64_t>({kTileRows, limit / width, rows}), width};
}

// Vectors between channels and between rows of what the tile kernel reads.
struct Pitch {
    int64_t channel, row;
};

// Channels of a staged copy this far apart, in vectors, would share a few sets of L1.
inline bool aliases(int64_t channel_pitch) { return channel_pitch % 32 == 0; }
inline int64_t staged_channel_pitch(int64_t vectors) { return aliases(vectors) ? vectors + 16 : vectors; }

// Whether the operand is read in place: whole vectors, no tap outside what is stored, and no channels that
// alias in L1 unless too little work per input vector would pay for the copy.
inline bool reads_operand(const Gather& g) {
    const Stage& s = g.stage;
    const int64_t inputs = g.channels_per_group * (g.row_count / g.rows_per_group);
    if (aliases(g.input.channel / kLanes) && g.starts[g.row_count] > kCopyWeights * inputs) return false;
    return g.input.whole_vectors && s.phases == 1 && s.row_first >= -g.input.border &&
           s.row_first + s.rows(g.rows) <= g.input.height + g.input.border &&
           s.column_first >= -g.input.border && s.column_first + s.columns <= g.input.width + g.input.border;
}

// A column stride of 2 is read in place too where that is possible: neighbours lie two columns apart then,
// instead of side by side in a phase of the copy.
inline void read_every_second(Gather& g) {
    if (g.stage.phases != 2) return;
    Gather whole = g;
    int64_t reach = 0;
    for (Place& place : whole.classes[0].table) {
        place.column = place.column * 2 + place.column_phase;
        place.column_phase = 0;
        reach = std::max<int64_t>(reach, place.column);
    }
    whole.stage.phases = 1;
    whole.stage.columns = (g.output.width - 1) * 2 + reach + 1;
    whole.stage.column_step = 2;
    if (reads_operand(whole)) g = std::move(whole);
}

// Columns of the input that a tile of `columns` needs, of a class with so many.
inline int64_t tile_columns(const Stage& s, int64_t columns, int64_t of) {
    return s.columns - (of - columns) * s.column_step;
}

// Channels per block of a plan whose tile reads `tile_vectors` of each channel.
inline int64_t block_channels(const Gather& g, int64_t tile_vectors) {
    // A class of pixels meets its share of the kept weights.
    const int64_t nonzeros = std::max<int64_t>(g.starts[g.row_count] / g.classes.size(), 1);
    const int64_t rich = kCellWeights * g.row_count * g.channels_per_group / nonzeros + 1;
    return even_part(g.channels_per_group, std::max(kInputTileVectors / tile_vectors,
                                                    std::min(rich, kInputTileLimit / tile_vectors)));
}

// First row of each part, so that parts hold about as many kept weights.
inline std::vector<int64_t> balanced_rows(const int32_t* starts, int64_t rows, int64_t parts) {
    std::vector<int64_t> first(parts + 1, rows);
    for (int64_t p = 0; p < parts; ++p)
        first[p] =
            std::lower_bound(starts, starts + rows, static_cast<int64_t>(starts[rows]) * p / parts) - starts;
    first[0] = 0;
    return first;
}
