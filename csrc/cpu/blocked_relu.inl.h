// The gradient of a ReLU: a loop over floats that the compiler turns into vectors by itself.

constexpr int64_t kChunk = 1 << 15;  // floats of one task: 128 KB

void KERNEL(blocked_relu_backward)(const Blocked& shape, const float* output, const float* grad_output,
                                   float* grad_input, int threads) {
    const int64_t count = shape.floats();
    parallel_for((count + kChunk - 1) / kChunk, threads, [&](int64_t chunk) {
        const int64_t last = std::min(count, (chunk + 1) * kChunk);
        for (int64_t i = chunk * kChunk; i < last; ++i) {
            const float g = grad_output[i];  // read in any case: a read under a condition is no vector read
            grad_input[i] = output[i] <= 0 ? 0.0f : g;
        }
    });
}
