// Linear layers at small batches: a kept weight meets `lanes` numbers, so the cost is to find the weight.
// These kernels walk the pattern itself, without a plan: each row is read once, in order, and the features of
// all images (lanes innermost) stay in L1 or L2.

template <int LANES>
struct Few {
    float lane[LANES];
};

template <int LANES>
inline void add_product(Few<LANES>& sum, float weight, const float* x) {
    for (int i = 0; i < LANES; ++i) sum.lane[i] += weight * x[i];
}

// Features (channel, lanes) of an operand; the operand itself where it lies so.
inline const float* few_lanes(const View& v, int64_t lanes, float* copy) {
    if (v.channel == lanes && (lanes == 1 || (v.lane == 1 && (v.stored_lanes == lanes || v.n == lanes))))
        return v.data;
    std::fill(copy, copy + v.channels * lanes, 0.0f);
    if (v.channel == 1)
        transpose(v.data, v.lane, copy, lanes, v.n, v.channels);
    else
        for (int64_t c = 0; c < v.channels; ++c)
            for (int64_t i = 0; i < v.n; ++i) copy[c * lanes + i] = v.data[c * v.channel + i * v.lane];
    return copy;
}

// output row r = bias + sum over its kept weights; of forward, and of backward_input on the transposed
// pattern.
template <int LANES>
void linear_rows(const Gather& g, int threads) {
    const View& out = g.output;
    const float* x = few_lanes(g.input, LANES, scratch(Use::kInput).floats(g.input.channels * LANES));
    const int64_t parts = std::min<int64_t>(threads, g.row_count);
    const std::vector<int64_t> part_rows = balanced_rows(g, parts);
    parallel_for(parts, threads, [&](int64_t part) {
        for (int64_t r = part_rows[part]; r < part_rows[part + 1]; ++r) {
            const float* in = x + r / g.rows_per_group * g.channels_per_group * LANES;
            constexpr int CHAINS = 8;  // an addition takes 3 or 4 cycles, and two can start in each
            Few<LANES> sums[CHAINS] = {};
            int64_t i = g.starts[r];
            const int64_t end = g.starts[r + 1];
            const auto weight = [&](int64_t k) { return g.values[g.permutation ? g.permutation[k] : k]; };
            for (; i + CHAINS <= end; i += CHAINS)
                for (int k = 0; k < CHAINS; ++k)
                    add_product(sums[k], weight(i + k), in + int64_t{g.places[i + k]} * LANES);
            for (; i < end; ++i) add_product(sums[0], weight(i), in + int64_t{g.places[i]} * LANES);
            for (int step = CHAINS / 2; step; step /= 2)
                for (int k = 0; k < step; ++k) add_product(sums[k], 1.0f, sums[k + step].lane);
            const float bias = g.bias ? g.bias[r] : 0.0f;
            float* target = out.at(0, r, 0, 0);
            for (int lane = 0; lane < out.n; ++lane) {
                const float y = sums[0].lane[lane] + bias;
                target[lane * out.lane] = g.relu && y < 0 ? 0.0f : y;
            }
            for (int64_t lane = out.n; lane < out.stored_lanes; ++lane) target[lane * out.lane] = 0.0f;
        }
    });
}

template <int LANES>
void linear_weights(const Gather& g, float* grad_values, float* grad_bias, int threads) {
    const float* x = few_lanes(g.input, LANES, scratch(Use::kInput).floats(g.input.channels * LANES));
    const float* grad = few_lanes(g.output, LANES, scratch(Use::kOutput).floats(g.output.channels * LANES));
    const int64_t parts = std::min<int64_t>(threads, g.row_count);
    const std::vector<int64_t> part_rows = balanced_rows(g, parts);
    parallel_for(parts, threads, [&](int64_t part) {
        for (int64_t r = part_rows[part]; r < part_rows[part + 1]; ++r) {
            const float* in = x + r / g.rows_per_group * g.channels_per_group * LANES;
            Few<LANES> gy;
            for (int lane = 0; lane < LANES; ++lane) gy.lane[lane] = grad[r * LANES + lane];
            for (int64_t i = g.starts[r]; i < g.starts[r + 1]; ++i) {
                const float* features = in + int64_t{g.places[i]} * LANES;
                Few<LANES> products;
                for (int lane = 0; lane < LANES; ++lane) products.lane[lane] = gy.lane[lane] * features[lane];
                for (int step = LANES / 2; step; step /= 2)
                    for (int lane = 0; lane < step; ++lane) products.lane[lane] += products.lane[lane + step];
                grad_values[i] = products.lane[0];
            }
            if (grad_bias) {
                float total = 0;
                for (float lane : gy.lane) total += lane;
                grad_bias[r] = total;
            }
        }
    });
}

template <class Body>
void with_few_lanes(int64_t n, const Body& body) {
    with_lanes(n <= 1 ? 1 : n <= 2 ? 2 : n <= 4 ? 4 : 8, body);
}

void KERNEL(sparse_linear_over_rows)(const Gather& g, int threads) {
    with_few_lanes(g.output.n, [&](auto lanes) { linear_rows<lanes>(g, threads); });
}

void KERNEL(sparse_linear_backward_weight_over_rows)(const Gather& g, float* grad_values, float* grad_bias,
                                                     int threads) {
    with_few_lanes(g.output.n,
                   [&](auto lanes) { linear_weights<lanes>(g, grad_values, grad_bias, threads); });
}
