// How the work of a gather convolution is cut: bands, tiles, parts of about equal cost.

constexpr int64_t kStageVectors = 8192;     // staged band, 512 KB: half of a 1 MB L2
constexpr int64_t kInputTileVectors = 384;  // input tile, 24 KB: most of a 32 KB L1

struct TileShape {
    int64_t rows, columns;
};

// Columns are split evenly, rows fill the registers that are left.
inline TileShape tile_shape(int64_t rows, int64_t columns) {
    constexpr int64_t limit = std::min(kTileVectors, 16);
    const int64_t parts = (columns + limit - 1) / limit;
    const int64_t width = (columns + parts - 1) / parts;
    return {std::min<int64_t>({kTileRows, limit / width, rows}), width};
}

// A part size that splits `total` evenly, each part at most `limit` (and at least 1).
inline int64_t even_part(int64_t total, int64_t limit) {
    limit = std::clamp<int64_t>(limit, 1, std::max<int64_t>(total, 1));
    const int64_t parts = std::max<int64_t>((total + limit - 1) / limit, 1);
    return (total + parts - 1) / parts;
}

// Vectors between channels and between rows of what the tile kernel reads.
struct Pitch {
    int64_t channel, row;
};

// Whether the operand can be read in place: whole vectors, and no tap outside the image.
inline bool reads_operand(const Gather& g) {
    const Stage& s = g.stage;
    return g.input.whole_vectors && g.input.chunk == 1 && s.phases == 1 && s.row_first >= 0 &&
           s.row_first + s.rows(g.rows) <= g.input.height && s.column_first >= 0 &&
           s.column_first + s.columns <= g.input.width;
}

// First row of each part, so that parts hold about as many kept weights.
inline std::vector<int64_t> balanced_rows(const Gather& g, int64_t parts) {
    std::vector<int64_t> first(parts + 1, g.row_count);
    for (int64_t p = 0; p < parts; ++p)
        first[p] = std::lower_bound(g.starts, g.starts + g.row_count,
                                    static_cast<int64_t>(g.starts[g.row_count]) * p / parts) -
                   g.starts;
    first[0] = 0;
    return first;
}
