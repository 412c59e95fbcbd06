// Linear layers over whole vectors of images. A kept weight meets one vector per 16 images, so what counts is
// the way to it: these kernels walk the rows of the pattern itself, without a plan, over a block of features
// that lies in L1, and read blocked operands where they are.
//
// Up to kLinearColumns vectors of a feature (16 images each) are taken at a time. backward_input adds weight
// * gradient to its features, so that the weights are read in order: dot products on the transposed pattern
// missed the cache at each weight.
//
// Tried: entries of (offset, value) laid out for the tile kernel, right before its call, and features copied
// side by side. At 3136 -> 1024, batch 32, all passes took 1.2 to 1.3 times as long, and at 1024 -> 10 four
// times as long at 90 % sparsity: the copy alone took more than the products.

template <int COLUMNS>
inline void add_products(Vec* sums, float value, const float* feature, int64_t block) {
    const Vec weight = broadcast(value);
    SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j) sums[j] =
        fma(weight, load(feature + j * block), sums[j]);
}

template <int COLUMNS>
void linear_forward(const Pattern& p, const float* values, const float* bias, bool rectify, const View& in,
                    const View& out, int64_t b0, int64_t group, int64_t r0, int64_t r1) {
    constexpr int CHAINS = std::max(kLinearColumns / COLUMNS, 1);
    FeatureReader reader(in, p, b0, COLUMNS, group);
    Features y = features_of(out, b0);
    if (!out.whole_vectors) {
        y = copied_features(scratch(Use::kOutput).floats((r1 - r0) * COLUMNS * kLanes), COLUMNS);
        y.data -= r0 * y.feature;
    }
    FeatureBlock now{};
    Features x{};
    const auto enter = [&](const FeatureBlock& block) {
        now = block;
        x = reader.read(block.first, block.last);
    };
    const auto body = [&](const Segment& s, int64_t ahead) {
        __builtin_prefetch(values + ahead);
        __builtin_prefetch(values + ahead + 16);
        const float* const source = x.data;
        const int64_t feature = x.feature, block = x.block;
        const int32_t* const places = p.places;
        Vec sums[CHAINS * COLUMNS];
        const Vec start = broadcast(now.opens && bias ? bias[s.row] : 0.0f);
        SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j) sums[j] = now.opens ? start : load(y.at(s.row, j));
        SPARSEFIT_UNROLL for (int j = COLUMNS; j < CHAINS * COLUMNS; ++j) sums[j] = broadcast(0.0f);
        int64_t i = s.first;
        for (; i + CHAINS <= s.last; i += CHAINS)
            SPARSEFIT_UNROLL for (int k = 0; k < CHAINS; ++k) add_products<COLUMNS>(
                sums + k * COLUMNS, values[i + k], source + places[i + k] * feature, block);
        for (; i < s.last; ++i) add_products<COLUMNS>(sums, values[i], source + places[i] * feature, block);
        SPARSEFIT_UNROLL for (int k = 1; k < CHAINS; ++k) SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j)
            sums[j] = add(sums[j], sums[k * COLUMNS + j]);
        SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j)
            store(y.at(s.row, j), now.closes && rectify ? relu(sums[j]) : sums[j]);
    };
    for_blocks(p, COLUMNS, kSegmentProducts, r0, r1, 0, p.c_in_group, enter, body,
               [](const FeatureBlock&) {});
    if (out.whole_vectors)
        for (int64_t j = 0; j < COLUMNS; ++j) clear_tail(out, b0 + j, r0, r1, 0, 1);
    else
        copy_out({y.at(r0, 0), y.feature, y.block}, out, b0, COLUMNS, r0, r1);
}

template <int COLUMNS>
void linear_backward_input(const Pattern& p, const float* values, const View& grad, const View& out,
                           int64_t b0, int64_t group, int64_t c0, int64_t c1) {
    const int64_t rows = p.c_out / p.groups, r0 = group * rows, channel0 = group * p.c_in_group;
    Features g = features_of(grad, b0);
    if (!grad.whole_vectors) {
        g = copied_features(scratch(Use::kInput).floats(rows * COLUMNS * kLanes), COLUMNS);
        copy_in(grad, b0, COLUMNS, r0, r0 + rows, g);
        g.data -= r0 * g.feature;
    }
    const bool copies = wants_copy(out, p, COLUMNS);
    Features x = features_of(out, b0);
    const auto enter = [&](const FeatureBlock& block) {
        if (copies) {
            x = copied_features(scratch(Use::kOutput).floats((block.last - block.first) * COLUMNS * kLanes),
                                COLUMNS);
            x.data -= block.first * x.feature;
        } else
            x.data = out.at(b0, channel0, 0, 0);
        for (int64_t c = block.first; c < block.last; ++c)
            SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j) store(x.at(c, j), broadcast(0.0f));
    };
    const auto body = [&](const Segment& s, int64_t ahead) {
        __builtin_prefetch(values + ahead);
        __builtin_prefetch(values + ahead + 16);
        float* const data = x.data;
        const int64_t feature = x.feature, block = x.block;
        Vec gradient[COLUMNS];
        SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j) gradient[j] = load(g.at(s.row, j));
        // Copies: behind a store the compiler would read them again.
        const int32_t* const places = p.places;
        const float* const weights = values;
        for (int64_t i = s.first, last = s.last; i < last; ++i) {
            const Vec weight = broadcast(weights[i]);
            float* const sums = data + places[i] * feature;
            SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j)
                store(sums + j * block, fma(weight, gradient[j], load(sums + j * block)));
        }
    };
    const auto leave = [&](const FeatureBlock& block) {
        const int64_t first = channel0 + block.first, last = channel0 + block.last;
        if (copies)
            copy_out({x.at(block.first, 0), x.feature, x.block}, out, b0, COLUMNS, first, last);
        else
            for (int64_t j = 0; j < COLUMNS; ++j) clear_tail(out, b0 + j, first, last, 0, 1);
    };
    for_blocks(p, COLUMNS, kSegmentSums, r0, r0 + rows, c0, c1, enter, body, leave);
}

template <int COLUMNS>
void linear_backward_weight(const Pattern& p, const View& in, const View& grad, float* grad_values,
                            float* grad_bias, int64_t b0, int64_t group, int64_t r0, int64_t r1) {
    constexpr int GROUP = kTileVectors >= 20 ? 16 : 4;
    FeatureReader reader(in, p, b0, COLUMNS, group);
    Features x{}, g = features_of(grad, b0);
    if (!grad.whole_vectors) {
        g = copied_features(scratch(Use::kOutput).floats((r1 - r0) * COLUMNS * kLanes), COLUMNS);
        copy_in(grad, b0, COLUMNS, r0, r1, g);
        g.data -= r0 * g.feature;
    }
    bool opens = false;
    const auto enter = [&](const FeatureBlock& block) {
        opens = block.opens;
        x = reader.read(block.first, block.last);
    };
    const auto body = [&](const Segment& s, int64_t) {
        const float* const source = x.data;
        const int64_t feature = x.feature, block = x.block;
        Vec gradient[COLUMNS], total = broadcast(0.0f);
        SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j) {
            gradient[j] = load(g.at(s.row, j));
            total = add(total, gradient[j]);
        }
        if (opens && grad_bias) grad_bias[s.row] += sum(total);
        for (int64_t i = s.first; i < s.last; i += GROUP) {
            const int count = static_cast<int>(std::min<int64_t>(GROUP, s.last - i));
            Vec sums[kLanes];
            // Past the segment the last weight is taken again: no branch, and nothing of it is stored.
            SPARSEFIT_UNROLL for (int k = 0; k < kLanes; ++k) {
                sums[k] = broadcast(0.0f);
                if (k < GROUP) {
                    const float* const feature_k = source + p.places[i + std::min(k, count - 1)] * feature;
                    SPARSEFIT_UNROLL for (int j = 0; j < COLUMNS; ++j) sums[k] =
                        fma(gradient[j], load(feature_k + j * block), sums[k]);
                }
            }
            store_first(grad_values + i, add(sums_of(sums), load_first(grad_values + i, count)), count);
        }
    };
    for_blocks(p, COLUMNS, kSegmentProducts, r0, r1, 0, p.c_in_group, enter, body,
               [](const FeatureBlock&) {});
}

// Calls body(columns, b0) for groups of batch blocks, `columns` a constant of the type.
template <class Body>
void with_columns(int64_t b0, int64_t blocks, const Body& body) {
    switch (std::min<int64_t>(blocks - b0, kLinearColumns)) {
        case 1:
            return body(std::integral_constant<int, 1>{});
        case 2:
            return body(std::integral_constant<int, 2>{});
        case 3:
            return body(std::integral_constant<int, 3>{});
        case 4:
            return body(std::integral_constant<int, 4>{});
    }
    if constexpr (kLinearColumns == 8) switch (std::min<int64_t>(blocks - b0, 8)) {
            case 5:
                return body(std::integral_constant<int, 5>{});
            case 6:
                return body(std::integral_constant<int, 6>{});
            case 7:
                return body(std::integral_constant<int, 7>{});
            case 8:
                return body(std::integral_constant<int, 8>{});
        }
}

// Calls body(group, first, last) for the rows of each group that lie in [r0, r1).
template <class Body>
void for_groups(const Pattern& p, int64_t r0, int64_t r1, const Body& body) {
    const int64_t rows = p.c_out / p.groups;
    for (int64_t group = r0 / rows; group * rows < r1; ++group)
        body(group, std::max(r0, group * rows), std::min(r1, (group + 1) * rows));
}

void KERNEL(sparse_linear_forward_over_batch)(const Conv& conv, const Operand& input, const float* values,
                                              const float* bias, const Pattern& pattern,
                                              const Operand& output, bool relu, int threads) {
    const View in = view(input, conv.n, conv.c_in, 1, 1), out = view(output, conv.n, conv.c_out, 1, 1);
    const int64_t parts = std::min<int64_t>(threads, pattern.c_out);
    const std::vector<int64_t> part_rows = balanced_rows(pattern.rows, pattern.c_out, parts);
    const int64_t steps = (in.blocks + kLinearColumns - 1) / kLinearColumns;
    parallel_for(steps * parts, threads, [&](int64_t task) {
        const int64_t b0 = task / parts * kLinearColumns, part = task % parts;
        for_groups(pattern, part_rows[part], part_rows[part + 1], [&](int64_t group, int64_t r0, int64_t r1) {
            with_columns(b0, in.blocks, [&](auto columns) {
                linear_forward<columns>(pattern, values, bias, relu, in, out, b0, group, r0, r1);
            });
        });
    });
}

void KERNEL(sparse_linear_backward_input_over_batch)(const Conv& conv, const Operand& grad_output,
                                                     const float* values, const Pattern& pattern,
                                                     const Operand& grad_input, int threads) {
    const View grad = view(grad_output, conv.n, conv.c_out, 1, 1),
               out = view(grad_input, conv.n, conv.c_in, 1, 1);
    // Each feature belongs to one task, and its rows come in order: equal bits for any number of threads.
    const int64_t width = pattern.c_in_group, parts = std::min<int64_t>(threads, width);
    const int64_t steps = (out.blocks + kLinearColumns - 1) / kLinearColumns;
    parallel_for(steps * parts, threads, [&](int64_t task) {
        const int64_t b0 = task / parts * kLinearColumns, part = task % parts;
        for (int64_t group = 0; group < pattern.groups; ++group)
            with_columns(b0, out.blocks, [&](auto columns) {
                linear_backward_input<columns>(pattern, values, grad, out, b0, group, width * part / parts,
                                               width * (part + 1) / parts);
            });
    });
}

void KERNEL(sparse_linear_backward_weight_over_batch)(const Conv& conv, const Operand& input,
                                                      const Operand& grad_output, const Pattern& pattern,
                                                      float* grad_values, float* grad_bias, int threads) {
    const View in = view(input, conv.n, conv.c_in, 1, 1), grad = view(grad_output, conv.n, conv.c_out, 1, 1);
    std::fill_n(grad_values, pattern.nnz, 0.0f);
    if (grad_bias) std::fill_n(grad_bias, conv.c_out, 0.0f);
    const int64_t parts = std::min<int64_t>(threads, pattern.c_out);
    const std::vector<int64_t> part_rows = balanced_rows(pattern.rows, pattern.c_out, parts);
    parallel_for(parts, threads, [&](int64_t part) {
        for (int64_t b0 = 0; b0 < in.blocks; b0 += kLinearColumns)
            for_groups(pattern, part_rows[part], part_rows[part + 1],
                       [&](int64_t group, int64_t r0, int64_t r1) {
                           with_columns(b0, in.blocks, [&](auto columns) {
                               linear_backward_weight<columns>(pattern, in, grad, grad_values, grad_bias, b0,
                                                               group, r0, r1);
                           });
                       });
    });
}
