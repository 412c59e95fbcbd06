// The tile kernel: ROWS x COLS output vectors stay in registers over all kept weights of one cell (a row of
// the pattern within a block of input channels). A weight costs one broadcast, one offset, and ROWS * COLS
// multiply-adds whose input is a memory operand at a constant distance: one load per multiply-add, which is
// also what Zen 4 can load per cycle, so sharing loads between channels or taps would gain nothing there.
//
// Tried on a Zen 4 core (118 GF/s of multiply-adds on registers), 64 -> 64 channels, 3x3, GF/s of this kernel
// alone at 50 / 90 % sparsity: 2x8 tiles with 8 input channels a block 95 / 77, with 16 channels 86 / 83,
// with all 64 (inputs in L2) 82 / 63; 3x8 tiles 91 / 74; 2x12 tiles 85 / 69; 1x8 tiles 92 / 74.
//
// On a Xeon (model 207; 178 GF/s with a factor of each multiply-add from L1) the loop over weights reaches
// 156 alone, cells of 40 weights 146, of different numbers of weights 138, with their entries in L2 127, and
// the layers above 124 at 50 %. Loops of 4 and 8 weights, cells sorted by their number of weights, fetching
// the next cell's sums, and tiles of 36 KB instead of 24 were worth 2 % at most on the mean of seven layers.

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

template <int ROWS, int COLS, int STEP>
inline void add_entry(Vec (&sums)[ROWS * COLS], const float* base, int64_t row, const Entry& entry) {
    const Vec weight = broadcast(entry.value);
    const float* input = base + static_cast<uint64_t>(entry.offset) * kLanes;
    SPARSEFIT_UNROLL for (int i = 0; i < ROWS * COLS; ++i) sums[i] =
        fma(weight, load(input + i / COLS * row + i % COLS * STEP * kLanes), sums[i]);
}

// Calls body(i, floats from the first output to output i). Side by side, as they mostly are, outputs lie at
// constant distances; else GCC computes an address for each before the first weight.
template <int ROWS, int COLS, class Body>
inline void each_output(int64_t row, int64_t column, const Body& body) {
    if (column == kLanes) {
        SPARSEFIT_UNROLL for (int i = 0; i < ROWS * COLS; ++i) body(i, i / COLS * row + i % COLS * kLanes);
    } else {
        SPARSEFIT_UNROLL for (int i = 0; i < ROWS * COLS; ++i) body(i, i / COLS * row + i % COLS * column);
    }
}

// STEP: columns between the inputs of two neighbours.
template <int ROWS, int COLS, int STEP>
void tile(const Tile& t, const Entry* entry, const Entry* end, bool opens, float bias, bool rectify,
          const FinishAt* finish) {
    constexpr int SIZE = ROWS * COLS, CHAINS = chains(SIZE);
    const float* const input = t.input;
    const int64_t input_row = t.input_row, row = t.row, column = t.column;
    float* const output = t.output;
    Vec sums[CHAINS][SIZE];
    if (opens) {
        const Vec start = broadcast(bias);
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) sums[0][i] = start;
    } else {
        each_output<ROWS, COLS>(row, column, [&](int i, int64_t at) { sums[0][i] = load(output + at); });
    }
    SPARSEFIT_UNROLL for (int k = 1; k < CHAINS; ++k) SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i)
        sums[k][i] = broadcast(0.0f);
    if constexpr (CHAINS == 1) {
        for (; entry < end; ++entry) add_entry<ROWS, COLS, STEP>(sums[0], input, input_row, *entry);
    } else {
        for (; end - entry >= CHAINS; entry += CHAINS)
            SPARSEFIT_UNROLL for (int k = 0; k < CHAINS; ++k)
                add_entry<ROWS, COLS, STEP>(sums[k], input, input_row, entry[k]);
        for (; entry < end; ++entry) add_entry<ROWS, COLS, STEP>(sums[0], input, input_row, *entry);
        SPARSEFIT_UNROLL for (int k = 1; k < CHAINS; ++k) SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i)
            sums[0][i] = add(sums[0][i], sums[k][i]);
    }
    if (finish)
        finish_sums<SIZE>(sums[0], *finish, row, column, [](int i, int64_t by_row, int64_t by_column) {
            return i / COLS * by_row + i % COLS * by_column;
        });
    if (rectify) {
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) sums[0][i] = relu(sums[0][i]);
    }
    each_output<ROWS, COLS>(row, column, [&](int i, int64_t at) { store(output + at, sums[0][i]); });
}

using TileKernel = void (*)(const Tile&, const Entry*, const Entry*, bool opens, float bias, bool rectify,
                            const FinishAt* finish);

constexpr int kTileRows = 4, kTileColumns = 16;
constexpr bool fits(int rows, int columns) {
    return rows * columns <= kTileVectors && columns <= kTileColumns;
}

template <int ROWS, int COLS, int STEP>
constexpr TileKernel tile_kernel() {
    if constexpr (fits(ROWS, COLS))
        return tile<ROWS, COLS, STEP>;
    else
        return nullptr;
}

template <int STEP, int... I>
constexpr void fill(TileKernel (&table)[kTileRows][kTileColumns], std::integer_sequence<int, I...>) {
    ((table[I / kTileColumns][I % kTileColumns] =
          tile_kernel<I / kTileColumns + 1, I % kTileColumns + 1, STEP>()),
     ...);
}

template <int STEP>
struct TileTable {
    TileKernel kernel[kTileRows][kTileColumns];
    constexpr TileTable() : kernel{} {
        fill<STEP>(kernel, std::make_integer_sequence<int, kTileRows * kTileColumns>());
    }
};
constexpr TileTable<1> kTiles;
constexpr TileTable<2> kTilesOfEverySecond;
