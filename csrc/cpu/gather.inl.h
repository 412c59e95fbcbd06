// The loop nest of forward and backward_input:
//   task (batch block, band of rows, part of the output channels): stage the input band in L2
//     tile of pixels
//       block of input channels whose input tile fits L1
//         cell (output channel): the tile kernel, partial sums in the output

inline void gather(const Gather& g, int threads) {
    const View &in = g.input, &out = g.output;
    if (out.n == 0 || g.rows <= 0) return;
    const Stage& stage_shape = g.stage;
    // A band is as many rows as fit the stage, input and (when the output is not made of whole vectors, or is
    // to be pooled) output.
    const bool staged_output = !out.whole_vectors || g.pooling;
    const int64_t out_row_vectors = staged_output ? out.channels * out.width * g.classes[0].step_row : 0;
    const bool staged_input = !reads_operand(g);
    const int64_t row_vectors =
        (staged_input ? stage_shape.channels * stage_shape.row_pitch() * stage_shape.row_step : 0) +
        out_row_vectors;
    const int64_t unit = g.pooling ? 2 : 1;  // rows of a window
    const int64_t band =
        unit * even_part(g.rows / unit, kStageVectors / std::max<int64_t>(unit * row_vectors, 1));
    const int64_t bands = (g.rows + band - 1) / band;
    const Pitch pitch = staged_input
                            ? Pitch{staged_channel_pitch(stage_shape.rows(band) * stage_shape.row_pitch()),
                                    stage_shape.row_pitch()}
                            : Pitch{in.channel / kLanes, in.row / kLanes};
    const auto& tiles = stage_shape.column_step == 2 ? kTilesOfEverySecond.kernel : kTiles.kernel;
    std::vector<Plan> plans;
    for (const PixelClass& c : g.classes) {
        const TileShape shape =
            tile_shape(c.rows_to - c.rows_from, std::max<int64_t>(c.columns_to - c.columns_from, 1));
        const int64_t tile_vectors =
            stage_shape.rows(std::max<int64_t>(shape.rows, 1)) *
            std::min(stage_shape.row_pitch(),
                     tile_columns(stage_shape, shape.columns, c.columns_to - c.columns_from));
        const int64_t block = block_channels(g, std::max<int64_t>(tile_vectors, 1));
        plans.push_back(make_plan(g.row_count, g.rows_per_group, g.channels_per_group, g.starts, g.places,
                                  g.permutation, g.values, c.table, block, pitch.channel, pitch.row,
                                  stage_shape.columns));
    }

    // Few batch blocks: split the output channels as well, evenly by kept weights.
    const int64_t tasks = out.blocks * bands;
    const int64_t parts = tasks >= 2 * threads || threads == 1
                              ? 1
                              : std::min<int64_t>(g.row_count, (2 * threads + tasks - 1) / tasks);
    const std::vector<int64_t> part_rows = balanced_rows(g.starts, g.row_count, parts);

    parallel_for(tasks * parts, threads, [&](int64_t task) {
        const int64_t part = task % parts, b = task / parts / bands, i0 = task / parts % bands * band;
        const int64_t i1 = std::min(i0 + band, g.rows), c0 = part_rows[part], c1 = part_rows[part + 1];
        if (c0 == c1) return;
        const float* source;
        if (staged_input) {
            float* staged = scratch(Use::kInput).floats(stage_shape.channels * pitch.channel * kLanes);
            stage(in, b, stage_shape, stage_shape.row_first + i0 * stage_shape.row_step,
                  stage_shape.rows(i1 - i0), pitch.channel, staged);
            source = staged;
        } else {
            source = in.at(b, 0, stage_shape.row_first + i0 * stage_shape.row_step, stage_shape.column_first);
        }
        // Operand rows that this band writes.
        int64_t y_first = out.height, y_last = 0;
        for (const PixelClass& c : g.classes) {
            const int64_t from = std::max(i0, c.rows_from), to = std::min(i1, c.rows_to);
            if (from >= to || c.columns_from >= c.columns_to) continue;
            y_first = std::min(y_first, c.first_row + from * c.step_row);
            y_last = std::max(y_last, c.first_row + (to - 1) * c.step_row + 1);
        }
        if (y_first >= y_last) return;
        const int64_t copy_pitch = (y_last - y_first) * out.width;
        float* copy =
            staged_output ? scratch(Use::kOutput).floats(out.channels * copy_pitch * kLanes) : nullptr;
        const auto output_at = [&](int64_t c, int64_t y, int64_t x) {
            return staged_output ? copy + (c * copy_pitch + (y - y_first) * out.width + x) * kLanes
                                 : out.at(b, c, y, x);
        };
        const int64_t row_floats = staged_output ? out.width * kLanes : out.row;
        const int64_t column_floats = staged_output ? kLanes : out.column;

        for (size_t k = 0; k < plans.size(); ++k) {
            const PixelClass& c = g.classes[k];
            const Plan& plan = plans[k];
            const int64_t from = std::max(i0, c.rows_from), to = std::min(i1, c.rows_to);
            const TileShape shape =
                tile_shape(to - from, std::max<int64_t>(c.columns_to - c.columns_from, 1));
            for (int64_t i = from; i < to; i += shape.rows)
                for (int64_t j = c.columns_from; j < c.columns_to; j += shape.columns) {
                    const int64_t rows = std::min(shape.rows, to - i),
                                  columns = std::min(shape.columns, c.columns_to - j);
                    const TileKernel kernel = tiles[rows - 1][columns - 1];
                    Tile t{
                        source + ((i - i0) * stage_shape.row_step * pitch.row + j * stage_shape.column_step) *
                                     kLanes,
                        stage_shape.row_step * pitch.row * kLanes, nullptr, c.step_row * row_floats,
                        c.step_column * column_floats};
                    for (size_t block = 0; block + 1 < plan.blocks.size(); ++block) {
                        const Cell* cell = plan.cells.data() + plan.blocks[block];
                        const Cell* end = plan.cells.data() + plan.blocks[block + 1];
                        if (parts > 1)
                            cell = std::lower_bound(cell, end, c0,
                                                    [](const Cell& a, int64_t row) { return a.row < row; });
                        for (; cell < end && cell->row < c1; ++cell) {
                            t.output = output_at(cell->row, c.first_row + i * c.step_row,
                                                 c.first_column + j * c.step_column);
                            const Entry* entry = plan.entries.data() + cell->entry;
                            FinishAt finish;
                            const bool finishes = g.finish && cell->closes;
                            if (finishes) {
                                const auto finish_of = [&](int64_t channel) {
                                    return finish_at(*g.finish, out, b, channel, c.first_row + i * c.step_row,
                                                     c.first_column + j * c.step_column, t.row, t.column);
                                };
                                finish = finish_of(cell->row);
                                if (cell->row + 1 < c1)
                                    prefetch(finish_of(cell->row + 1), rows, columns, t.row, t.column);
                            }
                            kernel(t, entry, entry + cell->count, cell->opens,
                                   cell->opens && g.bias ? g.bias[cell->row] : 0.0f, cell->closes && g.relu,
                                   finishes ? &finish : nullptr);
                        }
                    }
                }
        }
        if (g.pooling)
            return pool_band(*g.pooling, out, b, c0, c1, y_first, y_last - y_first, copy,
                             copy_pitch * kLanes);
        if (staged_output) unstage(copy, out, b, c0, c1, y_first, y_last - y_first, copy_pitch);
        clear_tail(out, b, c0, c1, y_first, y_last - y_first);
        if (g.finish && g.finish->rectified) {
            View rectified = out;
            rectified.data = out.beside(g.finish->rectified);
            clear_tail(rectified, b, c0, c1, y_first, y_last - y_first);
        }
    });
}
