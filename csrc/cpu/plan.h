// The work of one gather convolution, laid out for one geometry: made once per call, shared by all threads.
#pragma once
#include <cstdint>
#include <vector>

namespace sparsefit {

// One kept weight: where its input lies relative to an output pixel, in vectors of the staged input.
struct Entry {
    uint32_t offset;
    float value;
};

// The kept weights of one row (output channel) within one block of input channels.
struct Cell {
    int32_t row, count;
    int64_t entry;       // first of its entries
    int64_t value;       // its first value; its values are adjacent
    bool opens, closes;  // the first, the last block of this row
};

// How input pixels are laid out in the staged copy (channel, row, phase of the column stride, column), and
// which row of the operand is needed: output row y reads staged rows row_step * y + [0, row_span).
struct Stage {
    int64_t channels;
    int64_t row_first, row_step, row_span;  // operand row of staged row 0 of output row 0
    int64_t column_first, phases, columns;  // operand column of staged column 0; columns per phase
    int64_t column_step = 1;                // columns between the inputs of two neighbours in a row of output
    int64_t row_pitch() const { return phases * columns; }  // in vectors
    int64_t rows(int64_t output_rows) const { return (output_rows - 1) * row_step + row_span; }
};

// One kept weight of a row, before it is laid out.
struct Place {
    int32_t channel;  // of the staged input, within the group
    int32_t row, column_phase,
        column;  // staged position relative to the output pixel; row < 0: not in this class
};

struct Plan {
    std::vector<Entry> entries;
    std::vector<Cell> cells;
    std::vector<int64_t> blocks;  // first cell of each channel block, and the end
};

// rows[r] .. rows[r + 1]: nonzeros of row r, places ascending in channel. table: what each place means.
// permutation, values may be null: then value i belongs to nonzero i, and entries carry no value.
Plan make_plan(int64_t row_count, int64_t rows_per_group, int64_t channels_per_group, const int32_t* rows,
               const int32_t* places, const int32_t* permutation, const float* values,
               const std::vector<Place>& table, int64_t channels_per_block, int64_t channel_pitch,
               int64_t row_pitch, int64_t columns);

}  // namespace sparsefit
