// Linear layers: each kept weight meets only a few vectors (one per batch block), so laying all of them out
// in a plan first would cost as much as the product (measured: 12 of 15 ms for 1.6 M weights at batch 32).
// The entries of one cell are written to L1 instead, right before the kernel that uses them.

constexpr int64_t kLinearCellWeights = 48;  // per cell: fewer would be mostly overhead

// Calls body(row, entries, count, first nonzero, opens, closes) for every cell of rows [c0, c1), block of
// input channels by block, so that the inputs of a block stay in L1.
template <class Body>
inline void for_linear_cells(const Gather& g, int64_t pitch, int64_t columns, int64_t c0, int64_t c1,
                             const Body& body) {
    const int64_t nonzeros = g.starts[g.row_count];
    const int64_t rich = nonzeros ? kLinearCellWeights * g.row_count * g.channels_per_group / nonzeros + 1
                                  : g.channels_per_group;
    const int64_t block =
        even_part(g.channels_per_group, std::max(kInputTileVectors / std::max<int64_t>(columns, 1), rich));
    const int64_t entry_floats = sizeof(Entry) / sizeof(float) * block;
    float* memory = scratch(Use::kEntries).floats(entry_floats + (c1 - c0));
    Entry* const entries = reinterpret_cast<Entry*>(memory);
    int32_t* const cursors = reinterpret_cast<int32_t*>(memory + entry_floats);
    std::copy(g.starts + c0, g.starts + c1, cursors);
    for (int64_t first = 0; first < g.channels_per_group || first == 0; first += block) {
        const int32_t limit = static_cast<int32_t>(std::min(first + block, g.channels_per_group));
        const bool opens = first == 0, closes = first + block >= g.channels_per_group;
        for (int64_t row = c0; row < c1; ++row) {
            const int64_t base = row / g.rows_per_group * g.channels_per_group * pitch;
            const int32_t begin = cursors[row - c0], end = g.starts[row + 1];
            int32_t i = begin;
            Entry* entry = entries;
            for (; i < end && g.places[i] < limit; ++i)
                *entry++ = {static_cast<uint32_t>(base + g.places[i] * pitch),
                            !g.values ? 0.0f : g.values[g.permutation ? g.permutation[i] : i]};
            cursors[row - c0] = i;
            body(row, entries, i - begin, begin, opens, closes);
        }
    }
}
