// ReLU, addition and bias: loops over floats that the compiler turns into vectors by itself.

constexpr int64_t kChunk = 1 << 15;  // floats of one task: 128 KB

// body(first, last) over [0, count) in chunks.
template <class Body>
void over_floats(int64_t count, int threads, const Body& body) {
    parallel_for((count + kChunk - 1) / kChunk, threads,
                 [&](int64_t chunk) { body(chunk * kChunk, std::min(count, (chunk + 1) * kChunk)); });
}

void KERNEL(blocked_relu)(const Blocked& shape, const float* input, float* output, int threads) {
    over_floats(shape.floats(), threads, [&](int64_t first, int64_t last) {
        // Not max(x, 0): a NaN stays.
        for (int64_t i = first; i < last; ++i) output[i] = input[i] < 0 ? 0.0f : input[i];
    });
}

void KERNEL(blocked_relu_backward)(const Blocked& shape, const float* output, const float* grad_output,
                                   float* grad_input, int threads) {
    over_floats(shape.floats(), threads, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            const float g = grad_output[i];  // read in any case: a read under a condition is no vector read
            grad_input[i] = output[i] <= 0 ? 0.0f : g;
        }
    });
}

void KERNEL(blocked_add)(const Blocked& shape, const float* input, const float* other, float* output,
                         int threads) {
    over_floats(shape.floats(), threads, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) output[i] = input[i] + other[i];
    });
}

void KERNEL(blocked_add_bias)(const Blocked& shape, const float* input, const float* bias, float* output,
                              int threads) {
    const int64_t plane = shape.plane();
    parallel_for(shape.planes(), threads, [&](int64_t index) {
        const float* in = input + index * plane;
        float* out = output + index * plane;
        const float b = bias[index % shape.channels];
        for (int64_t y = 0; y < shape.height; ++y) {
            const int64_t row = shape.origin() + y * shape.pitch() * shape.lanes;
            for (int64_t i = row; i < row + shape.width * shape.lanes; ++i) out[i] = in[i] + b;
            clear_lanes(out + row, shape.width, shape.lanes, shape.images(index / shape.channels));
        }
    });
}

inline double plane_sum(const float* plane, int64_t floats) {
    Vec sums[4] = {broadcast(0.0f), broadcast(0.0f), broadcast(0.0f), broadcast(0.0f)};
    int64_t i = 0;
    for (; i + 4 * kLanes <= floats; i += 4 * kLanes)
        for (int k = 0; k < 4; ++k) sums[k] = add(sums[k], load(plane + i + k * kLanes));
    double rest = 0;
    for (; i < floats; ++i) rest += plane[i];
    return rest + sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

void KERNEL(blocked_bias_backward)(const Blocked& shape, const float* grad_output, float* grad_bias,
                                   int threads) {
    // A channel is one task: its sum has one order, whatever the number of threads.
    parallel_for(shape.channels, threads, [&](int64_t c) {
        double total = 0;
        for (int64_t b = 0; b < shape.blocks(); ++b)
            total += plane_sum(grad_output + (b * shape.channels + c) * shape.plane(), shape.plane());
        grad_bias[c] = static_cast<float>(total);
    });
}
