// What is done to the sums of a tile before they are stored (`Finish` in params.h), and the same as a pass of
// its own behind kernels that do not fuse it.

// Without the pragmas GCC unrolls too late to keep the sums out of memory (measured: half the speed at 90 %).
#define SPARSEFIT_UNROLL _Pragma("GCC unroll 32")

// The operands of a Finish at one vector of the output, with the distances of the output between its
// neighbours.
struct FinishAt {
    const float *before, *gate, *after;
};

inline FinishAt finish_at(const Finish& f, const View& out, int64_t b, int64_t c, int64_t y, int64_t x) {
    const int64_t at = b * out.block + c * out.channel + y * out.row + x * out.column;
    const int64_t fewer = b * (out.channels - f.before_channels) * out.channel;
    return {f.before && c < f.before_channels ? out.beside(f.before) + at - fewer : nullptr,
            f.gate ? out.beside(f.gate) + at : nullptr, f.after ? out.beside(f.after) + at : nullptr};
}

// place(i): floats from the first vector to vector i.
template <int SIZE, class Place>
inline void finish_sums(Vec (&sums)[SIZE], const FinishAt& f, const Place& place) {
    if (f.before)
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) sums[i] = add(sums[i], load(f.before + place(i)));
    if (f.gate)
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) sums[i] = gate(load(f.gate + place(i)), sums[i]);
    if (f.after)
        SPARSEFIT_UNROLL for (int i = 0; i < SIZE; ++i) sums[i] = add(sums[i], load(f.after + place(i)));
}

// Operation by operation along a channel of one block, its border with it: zeros stay zeros.
void KERNEL(finish)(const View& out, const Finish& finish, bool rectify, int threads) {
    const int64_t origin = out.border * (out.row + out.column), floats = out.channel;
    parallel_for(
        (out.n + out.stored_lanes - 1) / out.stored_lanes * out.channels, threads, [&](int64_t plane) {
            const int64_t b = plane / out.channels, c = plane % out.channels;
            const FinishAt f = finish_at(finish, out, b, c, 0, 0);
            float* __restrict v = out.at(b, c, 0, 0) - origin;
            if (f.before) {
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
        });
}
