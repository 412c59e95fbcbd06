// Linear layers at small batches: a kept weight meets `lanes` numbers, so the cost is to find the weight.
// These kernels walk the pattern itself, without a plan: each row is read once, in order, and the features of
// all images (lanes innermost) stay in L1 or L2.

// A vector type of its own size: from loops over arrays GCC made gathers and shuffles across the chains.
template <int LANES>
struct Few {
    float lane __attribute__((vector_size(LANES * sizeof(float))));
};
template <>
struct Few<1> {
    float lane[1];
};

template <int LANES>
inline void add_product(Few<LANES>& sum, float weight, const float* x) {
    Few<LANES> factor;
    __builtin_memcpy(&factor, x, sizeof factor);
    if constexpr (LANES == 1)
        sum.lane[0] += weight * factor.lane[0];
    else
        sum.lane += weight * factor.lane;
}

template <int LANES>
inline const float* first_lane(const Few<LANES>& few) {
    return reinterpret_cast<const float*>(&few);
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

// output row r = bias + sum over its kept weights.
template <int LANES>
void linear_rows(const Gather& g, int threads) {
    const View& out = g.output;
    const float* x = few_lanes(g.input, LANES, scratch(Use::kInput).floats(g.input.channels * LANES));
    const int64_t parts = std::min<int64_t>(threads, g.row_count);
    const std::vector<int64_t> part_rows = balanced_rows(g.starts, g.row_count, parts);
    parallel_for(parts, threads, [&](int64_t part) {
        for (int64_t r = part_rows[part]; r < part_rows[part + 1]; ++r) {
            const float* in = x + r / g.rows_per_group * g.channels_per_group * LANES;
            constexpr int CHAINS = 8;  // an addition takes 3 or 4 cycles, and two can start in each
            Few<LANES> sums[CHAINS] = {};
            int64_t i = g.starts[r];
            const int64_t end = g.starts[r + 1];
            const float* const values = g.values;
            for (; i + CHAINS <= end; i += CHAINS)
                SPARSEFIT_UNROLL for (int k = 0; k < CHAINS; ++k)
                    add_product(sums[k], values[i + k], in + int64_t{g.places[i + k]} * LANES);
            for (; i < end; ++i) add_product(sums[0], values[i], in + int64_t{g.places[i]} * LANES);
            for (int step = CHAINS / 2; step; step /= 2)
                for (int k = 0; k < step; ++k) add_product(sums[k], 1.0f, first_lane(sums[k + step]));
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

// grad_input[place] += weight * grad_output[row], row by row: weights are read in order, and the sums of a
// part of the inputs stay in L1 or L2. Tried: dot products on the transposed pattern, which read the weights
// in the order of its permutation, a cache miss each in large layers.
template <int LANES>
void linear_columns(const Gather& g, const Pattern& pattern, int threads) {
    const View& out = g.output;
    const float* grad = few_lanes(g.input, LANES, scratch(Use::kInput).floats(g.input.channels * LANES));
    float* sums = scratch(Use::kOutput).floats(g.row_count * LANES);
    const int64_t parts = std::min<int64_t>(threads, pattern.c_in_group);
    const int64_t rows_per_group = pattern.c_out / pattern.groups;
    // Each input feature belongs to one task, and its rows come in order: equal bits for any number of
    // threads.
    parallel_for(parts, threads, [&](int64_t part) {
        const int64_t from = pattern.c_in_group * part / parts, to = pattern.c_in_group * (part + 1) / parts;
        for (int64_t group = 0; group < pattern.groups; ++group) {
            float* x = sums + group * pattern.c_in_group * LANES;
            std::fill(x + from * LANES, x + to * LANES, 0.0f);
            for (int64_t r = group * rows_per_group; r < (group + 1) * rows_per_group; ++r) {
                const int32_t* const places = pattern.places;
                const float* const values = g.values;
                int64_t i = pattern.rows[r];
                const int64_t end = pattern.rows[r + 1];
                if (from > 0) i = std::lower_bound(places + i, places + end, from) - places;
                Few<LANES> gy;
                for (int lane = 0; lane < LANES; ++lane) gy.lane[lane] = grad[r * LANES + lane];
                for (; i < end && places[i] < to; ++i) {
                    Few<LANES> sum;
                    __builtin_memcpy(&sum, x + int64_t{places[i]} * LANES, sizeof sum);
                    add_product(sum, values[i], first_lane(gy));
                    __builtin_memcpy(x + int64_t{places[i]} * LANES, &sum, sizeof sum);
                }
            }
            for (int64_t c = from; c < to; ++c) {
                const int64_t channel = group * pattern.c_in_group + c;
                float* target = out.at(0, channel, 0, 0);
                for (int lane = 0; lane < out.n; ++lane)
                    target[lane * out.lane] = sums[channel * LANES + lane];
                for (int64_t lane = out.n; lane < out.stored_lanes; ++lane) target[lane * out.lane] = 0.0f;
            }
        }
    });
}

template <int LANES>
void linear_weights(const Gather& g, float* grad_values, float* grad_bias, int threads) {
    const float* x = few_lanes(g.input, LANES, scratch(Use::kInput).floats(g.input.channels * LANES));
    const float* grad = few_lanes(g.output, LANES, scratch(Use::kOutput).floats(g.output.channels * LANES));
    const int64_t parts = std::min<int64_t>(threads, g.row_count);
    const std::vector<int64_t> part_rows = balanced_rows(g.starts, g.row_count, parts);
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
                for (int lane = 0; lane < LANES; ++lane) total += gy.lane[lane];
                grad_bias[r] = total;
            }
        }
    });
}

template <class Body>
void with_few_lanes(int64_t n, const Body& body) {
    with_lanes(n <= 1 ? 1 : n <= 2 ? 2 : n <= 4 ? 4 : 8, body);
}

void KERNEL(sparse_linear_forward_over_rows)(const Gather& g, int threads) {
    with_few_lanes(g.output.n, [&](auto lanes) { linear_rows<lanes>(g, threads); });
}

void KERNEL(sparse_linear_backward_input_over_rows)(const Gather& g, const Pattern& pattern, int threads) {
    with_few_lanes(g.output.n, [&](auto lanes) { linear_columns<lanes>(g, pattern, threads); });
}

void KERNEL(sparse_linear_backward_weight_over_rows)(const Gather& g, float* grad_values, float* grad_bias,
                                                     int threads) {
    with_few_lanes(g.output.n,
                   [&](auto lanes) { linear_weights<lanes>(g, grad_values, grad_bias, threads); });
}
