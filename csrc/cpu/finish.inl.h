// What is done to the sums of a tile before they are stored (`Finish` in params.h), and the same as a pass of
// its own behind kernels that do not fuse it.

// Without the pragmas GCC unrolls too late to keep the sums out of memory (measured: half the speed at 90 %).
#define SPARSEFIT_UNROLL _Pragma("GCC unroll 32")

// The operands of a Finish at one vector of the output. Distances are those of the output, but for `before`.
struct FinishAt {
    const float *before = nullptr, *gate, *after;
    float* rectified;
    int64_t before_row, before_column;  // floats between the rows and columns of a tile
    float before_scale = 1;
};

// row, column: floats between those of the tile in the output. A tile takes every second row and column of
// the output where `before` is half as large, so its neighbours there lie side by side.
inline FinishAt finish_at(const Finish& f, const View& out, int64_t b, int64_t c, int64_t y, int64_t x,
                          int64_t row, int64_t column) {
    const int64_t at = b * out.block + c * out.channel + y * out.row + x * out.column;
    FinishAt found{};
    if (f.gate) found.gate = out.beside(f.gate) + at;
    if (f.after) found.after = out.beside(f.after) + at;
    if (f.rectified) found.rectified = out.beside(f.rectified) + at;
    if (!f.before || c >= f.before_channels) return found;
    const int64_t plane = b * f.before_channels + c;
    if (f.means) {
        const int64_t pitch = (out.width / 2 + 2 * out.border) * out.column;
        found.before = f.before + (plane * (out.height / 2 + 2 * out.border) + y / 2 + out.border) * pitch +
                       (x / 2 + out.border) * out.column;
        found.before_row = pitch;
        found.before_column = out.column;
        found.before_scale = 0.25f;
    } else {
        found.before = out.beside(f.before) + plane * out.channel + y * out.row + x * out.column;
        found.before_row = row;
        found.before_column = column;
    }
    return found;
}

// at(i, row, column): floats from the first vector to vector i at these distances.
template <int SIZE, class Place>
inline void finish_sums(Vec (&sums)[SIZE], const FinishAt& f, int64_t row, int64_t column, const Place& at) {
    const auto place = [&](int i) { return at(i, row, column); };
    if (f.before) {
        const Vec scale = broadcast(f.before_scale);
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) sums[i] =
            fma(scale, load(f.before + at(i, f.before_row, f.before_column)), sums[i]);
    }
    if (f.gate)
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) sums[i] = gate(load(f.gate + place(i)), sums[i]);
    if (f.after)
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) sums[i] = add(sums[i], load(f.after + place(i)));
    if (f.rectified)
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) store(f.rectified + place(i), relu(sums[i]));
}

// Asks for what a tile of rows x columns will need.
inline void prefetch(const FinishAt& f, int64_t rows, int64_t columns, int64_t row, int64_t column) {
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
            if (f.before) __builtin_prefetch(f.before + i * f.before_row + j * f.before_column);
            if (f.gate) __builtin_prefetch(f.gate + i * row + j * column);
            if (f.after) __builtin_prefetch(f.after + i * row + j * column);
        }
}

// Operation by operation along a channel of one block, its border with it: zeros stay zeros.
void KERNEL(finish)(const View& out, const Finish& finish, bool rectify, int threads) {
    const int64_t origin = out.border * (out.row + out.column), floats = out.channel;
    parallel_for(
        (out.n + out.stored_lanes - 1) / out.stored_lanes * out.channels, threads, [&](int64_t plane) {
            const int64_t b = plane / out.channels, c = plane % out.channels;
            const FinishAt f = finish_at(finish, out, b, c, 0, 0, out.row, out.column);
            float* __restrict v = out.at(b, c, 0, 0) - origin;
            if (f.before && finish.means) {
                for (int64_t y = 0; y < out.height; ++y)
                    for (int64_t x = 0; x < out.width; ++x)
                        for (int64_t lane = 0; lane < out.column; ++lane)
                            v[origin + y * out.row + x * out.column + lane] +=
                                f.before_scale *
                                f.before[y / 2 * f.before_row + x / 2 * f.before_column + lane];
            } else if (f.before) {
                const float* __restrict before = f.before - origin;
                for (int64_t i = 0; i < floats; ++i) v[i] += before[i];
            }
            if (f.gate) {
                const float* __restrict gate = f.gate - origin;
                for (int64_t i = 0; i < floats; ++i) {
                    const float kept = v[i];  // read in any case: a read under a condition is no vector read
                    v[i] = gate[i] <= 0 ? 0.0f : kept;
                }
            }
            if (f.after) {
                const float* __restrict after = f.after - origin;
                for (int64_t i = 0; i < floats; ++i) v[i] += after[i];
            }
            for (int64_t i = 0; rectify && i < floats; ++i) v[i] = v[i] < 0 ? 0.0f : v[i];
            if (f.rectified) {
                float* __restrict rectified = f.rectified - origin;
                for (int64_t i = 0; i < floats; ++i) rectified[i] = v[i] < 0 ? 0.0f : v[i];
            }
        });
}
