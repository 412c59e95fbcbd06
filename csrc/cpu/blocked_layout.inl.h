// Strided (N, C, H, W) to blocked and back: a transposition of the lanes with whatever lies side by side in
// the strided tensor: pixels of one channel (NCHW) or channels of one pixel (channels_last). Any other
// strides are copied float by float.

typedef float Quad4 __attribute__((vector_size(16)));
typedef int32_t Order4 __attribute__((vector_size(16)));

#if defined(__clang__)
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else  // GCC 12 was the first to have that one
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, Order4{i, j, k, l})
#endif

// 4 × 4 of a transposition; 16 of them make the 16 × 16 block. (Full-width shuffles need fewer instructions,
// but cost as many cycles where a 512-bit shuffle is two operations, and each instruction set its own code.)
inline void transpose_4x4(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
    Quad4 r[4];
    for (int i = 0; i < 4; ++i) __builtin_memcpy(&r[i], in + i * in_stride, sizeof(Quad4));
    const Quad4 a = SHUFFLE(r[0], r[1], 0, 4, 1, 5);
    const Quad4 b = SHUFFLE(r[0], r[1], 2, 6, 3, 7);
    const Quad4 c = SHUFFLE(r[2], r[3], 0, 4, 1, 5);
    const Quad4 d = SHUFFLE(r[2], r[3], 2, 6, 3, 7);
    const Quad4 columns[4] = {SHUFFLE(a, c, 0, 1, 4, 5), SHUFFLE(a, c, 2, 3, 6, 7), SHUFFLE(b, d, 0, 1, 4, 5),
                              SHUFFLE(b, d, 2, 3, 6, 7)};
    for (int i = 0; i < 4; ++i) __builtin_memcpy(out + i * out_stride, &columns[i], sizeof(Quad4));
}

#undef SHUFFLE

// out[j * out_stride + i] = in[i * in_stride + j] for i < rows, j < columns.
inline void transpose(const float* in, int64_t in_stride, float* out, int64_t out_stride, int64_t rows,
                      int64_t columns) {
    const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
    for (int64_t j = 0; j < whole_columns; j += 4)
        for (int64_t i = 0; i < whole_rows; i += 4)
            transpose_4x4(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
    for (int64_t j = 0; j < columns; ++j)
        for (int64_t i = j < whole_columns ? whole_rows : 0; i < rows; ++i)
            out[j * out_stride + i] = in[i * in_stride + j];
}

// A copy as loops over runs: `inner` vectors whose strided floats lie `inner_strided` apart, best side by
// side.
struct Runs {
    int64_t tasks, task_strided, task_blocked;  // of one block
    int64_t outer, outer_strided, outer_blocked;
    int64_t inner, inner_strided, inner_blocked;
};

inline Runs runs_of(const Blocked& s, const std::array<int64_t, 4>& strides) {
    const int64_t channel = strides[1], row = strides[2], column = strides[3], lanes = s.lanes;
    const bool whole_planes = (s.width == 1 || column == 1) && (s.height == 1 || row == s.width);
    if (whole_planes && s.pixels() > 1 && s.border == 0)
        return {s.channels, channel, s.plane(), 1, 0, 0, s.pixels(), 1, lanes};
    if (channel == 1 || s.channels == 1)
        return {s.height, row, s.pitch() * lanes, s.width, column, lanes, s.channels, 1, s.plane()};
    return {s.channels, channel, s.plane(), s.height, row, s.pitch() * lanes, s.width, column, lanes};
}

constexpr int64_t kRunPart = 64;  // vectors that are transposed while they lie in L1

// body(images, strided offset, blocked offset, vectors) over all parts of all runs.
template <class Body>
void over_runs(const Blocked& shape, const std::array<int64_t, 4>& strides, const Runs& r, int threads,
               const Body& body) {
    parallel_for(shape.blocks() * r.tasks, threads, [&](int64_t index) {
        const int64_t block = index / r.tasks, task = index % r.tasks;
        const int64_t strided = block * shape.lanes * strides[0] + task * r.task_strided;
        const int64_t blocked =
            block * shape.channels * shape.plane() + shape.origin() + task * r.task_blocked;
        for (int64_t i = 0; i < r.outer; ++i)
            for (int64_t j = 0; j < r.inner; j += kRunPart)
                body(shape.images(block), strided + i * r.outer_strided + j * r.inner_strided,
                     blocked + i * r.outer_blocked + j * r.inner_blocked, std::min(kRunPart, r.inner - j));
    });
}

void KERNEL(to_blocked)(const Blocked& shape, const Operand& input, float* output, int threads) {
    const Runs r = runs_of(shape, input.strides);
    const int64_t lane_stride = input.strides[0];
    over_runs(shape, input.strides, r, threads, [&](int images, int64_t from, int64_t to, int64_t count) {
        const float* in = input.data + from;
        float* out = output + to;
        if (r.inner_strided == 1)
            transpose(in, lane_stride, out, r.inner_blocked, images, count);
        else
            for (int64_t j = 0; j < count; ++j)
                for (int lane = 0; lane < images; ++lane)
                    out[j * r.inner_blocked + lane] = in[lane * lane_stride + j * r.inner_strided];
        for (int64_t j = 0; images < shape.lanes && j < count; ++j)
            for (int lane = images; lane < shape.lanes; ++lane) out[j * r.inner_blocked + lane] = 0.0f;
    });
}

void KERNEL(from_blocked)(const Blocked& shape, const float* input, const Operand& output, int threads) {
    const Runs r = runs_of(shape, output.strides);
    const int64_t lane_stride = output.strides[0];
    over_runs(shape, output.strides, r, threads, [&](int images, int64_t to, int64_t from, int64_t count) {
        const float* in = input + from;
        float* out = output.data + to;
        if (r.inner_strided == 1)
            transpose(in, r.inner_blocked, out, lane_stride, count, images);
        else
            for (int64_t j = 0; j < count; ++j)
                for (int lane = 0; lane < images; ++lane)
                    out[lane * lane_stride + j * r.inner_strided] = in[j * r.inner_blocked + lane];
    });
}
