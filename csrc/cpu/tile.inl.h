// The tile kernel: ROWS x COLS output vectors stay in registers over all kept weights of one cell (a row of
// the pattern within a block of input channels). A weight costs one broadcast, one offset, and ROWS * COLS
// multiply-adds whose input is a memory operand at a constant distance.

struct Tile {
    const float* input;   // staged input of the first pixel
    int64_t input_row;    // floats between the inputs of two rows of pixels
    float* output;        // first pixel
    int64_t row, column;  // floats between output rows, output columns
};

// Small tiles would wait for their own results (a multiply-add takes 4 cycles): they run several chains.
constexpr int chains(int vectors) {
    return vectors >= 6 || vectors * 2 > kTileVectors ? 1 : vectors >= 3 ? 2 : 3;
}

template <int ROWS, int COLS>
void tile(const Tile& t, const Entry* entry, const Entry* end, bool opens, float bias, bool rectify) {
    constexpr int CHAINS = chains(ROWS * COLS);
    Vec sums[CHAINS][ROWS][COLS];
    const Vec start = broadcast(bias), zero = broadcast(0.0f);
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLS; ++c) {
            sums[0][r][c] = opens ? start : load(t.output + r * t.row + c * t.column);
            for (int k = 1; k < CHAINS; ++k) sums[k][r][c] = zero;
        }
    for (; end - entry >= CHAINS; entry += CHAINS)
        for (int k = 0; k < CHAINS; ++k) {
            const Vec weight = broadcast(entry[k].value);
            const float* input = t.input + static_cast<uint64_t>(entry[k].offset) * kLanes;
            for (int r = 0; r < ROWS; ++r)
                for (int c = 0; c < COLS; ++c)
                    sums[k][r][c] = fma(weight, load(input + r * t.input_row + c * kLanes), sums[k][r][c]);
        }
    for (; CHAINS > 1 && entry < end; ++entry) {
        const Vec weight = broadcast(entry->value);
        const float* input = t.input + static_cast<uint64_t>(entry->offset) * kLanes;
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < COLS; ++c)
                sums[0][r][c] = fma(weight, load(input + r * t.input_row + c * kLanes), sums[0][r][c]);
    }
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLS; ++c) {
            Vec v = sums[0][r][c];
            for (int k = 1; k < CHAINS; ++k) v = add(v, sums[k][r][c]);
            store(t.output + r * t.row + c * t.column, rectify ? relu(v) : v);
        }
}

using TileKernel = void (*)(const Tile&, const Entry*, const Entry*, bool opens, float bias, bool rectify);

constexpr int kTileRows = 4, kTileColumns = 16;
constexpr bool fits(int rows, int columns) {
    return rows * columns <= kTileVectors && columns <= kTileColumns;
}

template <int ROWS, int COLS>
constexpr TileKernel tile_kernel() {
    if constexpr (fits(ROWS, COLS))
        return tile<ROWS, COLS>;
    else
        return nullptr;
}

template <int... I>
constexpr void fill(TileKernel (&table)[kTileRows][kTileColumns], std::integer_sequence<int, I...>) {
    ((table[I / kTileColumns][I % kTileColumns] = tile_kernel<I / kTileColumns + 1, I % kTileColumns + 1>()),
     ...);
}

struct TileTable {
    TileKernel kernel[kTileRows][kTileColumns];
    constexpr TileTable() : kernel{} {
        fill(kernel, std::make_integer_sequence<int, kTileRows * kTileColumns>());
    }
};
constexpr TileTable kTiles;
