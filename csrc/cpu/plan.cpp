#include "cpu/plan.h"

#include <limits>
#include <stdexcept>

namespace sparsefit {

Plan make_plan(int64_t row_count, int64_t rows_per_group, int64_t channels_per_group, const int32_t* rows,
               const int32_t* places, const int32_t* permutation, const float* values,
               const std::vector<Place>& table, int64_t channels_per_block, int64_t channel_pitch,
               int64_t row_pitch, int64_t columns) {
    const int64_t channels = channels_per_group * (row_count / rows_per_group);
    const int64_t block_count = channels == 0 ? 1 : (channels + channels_per_block - 1) / channels_per_block;
    if (channels * channel_pitch > std::numeric_limits<uint32_t>::max())
        throw std::length_error("a band of one input row is larger than 2^32 vectors");
    std::vector<int64_t> offsets(table.size());
    for (size_t i = 0; i < table.size(); ++i)
        offsets[i] = table[i].row < 0 ? -1
                                      : table[i].channel * channel_pitch + table[i].row * row_pitch +
                                            table[i].column_phase * columns + table[i].column;
    std::vector<std::vector<Cell>> cells(block_count);
    std::vector<int64_t> sizes(block_count + 1, 0);
    for (int64_t row = 0; row < row_count; ++row) {
        const int64_t first_channel = row / rows_per_group * channels_per_group;
        Cell* open = nullptr;
        int64_t block = 0, limit = 0;  // limit: first local channel past the block
        for (int32_t i = rows[row]; i < rows[row + 1]; ++i) {
            const int32_t place = places[i];
            if (offsets[place] < 0) continue;
            const int64_t channel = table[place].channel;
            if (!open || channel >= limit) {
                const bool opens = !open;
                block = (first_channel + channel) / channels_per_block;
                limit = (block + 1) * channels_per_block - first_channel;
                cells[block].push_back({static_cast<int32_t>(row), 0, sizes[block], i, opens, false});
                if (!opens) open->closes = false;
                open = &cells[block].back();
                open->closes = true;
            }
            ++open->count;
            ++sizes[block];
        }
        if (!open) cells[0].push_back({static_cast<int32_t>(row), 0, sizes[0], rows[row], true, true});
    }
    Plan plan;
    int64_t total = 0;
    for (int64_t b = 0; b < block_count; ++b) {
        plan.blocks.push_back(static_cast<int64_t>(plan.cells.size()));
        for (Cell& cell : cells[b]) {
            cell.entry += total;
            plan.cells.push_back(cell);
        }
        total += sizes[b];
    }
    plan.blocks.push_back(static_cast<int64_t>(plan.cells.size()));
    plan.entries.resize(total);
    for (const Cell& cell : plan.cells) {
        const int64_t base = cell.row / rows_per_group * channels_per_group * channel_pitch;
        int64_t i = cell.value;
        for (Entry* entry = plan.entries.data() + cell.entry;
             entry != plan.entries.data() + cell.entry + cell.count; ++i) {
            const int64_t offset = offsets[places[i]];
            if (offset < 0) continue;
            *entry++ = {static_cast<uint32_t>(base + offset),
                        values ? values[permutation ? permutation[i] : i] : 0.0f};
        }
    }
    return plan;
}

}  // namespace sparsefit
