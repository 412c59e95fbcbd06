#include "packed.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

namespace sparsefit {
namespace {
constexpr int kHeader = 6;

// Row numbers by group, then by falling number of nonzeros: neighbours have about equal work.
void write_order(const std::vector<int32_t>& starts, int64_t group_size, int32_t* order) {
    const int64_t rows = static_cast<int64_t>(starts.size()) - 1;
    std::iota(order, order + rows, 0);
    std::stable_sort(order, order + rows, [&](int32_t a, int32_t b) {
        if (a / group_size != b / group_size) return a < b;
        return starts[a + 1] - starts[a] > starts[b + 1] - starts[b];
    });
}
}  // namespace

Pattern::Pattern(const int32_t* data) : Pattern(data, data[0], data[1], data[2], data[3], data[4], data[5]) {}

Pattern::Pattern(const int32_t* data, int64_t c_out, int64_t c_in_group, int64_t kh, int64_t kw,
                 int64_t groups, int64_t nnz)
    : c_out(c_out), c_in_group(c_in_group), kh(kh), kw(kw), groups(groups), nnz(nnz) {
    rows = data + kHeader;
    places = rows + c_out + 1;
    rows_transposed = places + nnz;
    places_transposed = rows_transposed + c_in_group * groups + 1;
    permutation = places_transposed + nnz;
    order = permutation + nnz;
    order_transposed = order + c_out;
}

std::vector<int32_t> pack(const bool* mask, int64_t c_out, int64_t c_in_group, int64_t kh, int64_t kw,
                          int64_t groups) {
    const int64_t row_size = c_in_group * kh * kw, c_in = c_in_group * groups, taps = kh * kw;
    if (c_out * row_size > std::numeric_limits<int32_t>::max() || c_in >= std::numeric_limits<int32_t>::max())
        throw std::invalid_argument("a mask may have at most 2^31 - 1 weights, got " +
                                    std::to_string(c_out * row_size));
    const int64_t c_out_group = c_out / groups;
    std::vector<int32_t> rows(c_out + 1, 0), columns(c_in + 1, 0);
    for (int64_t o = 0; o < c_out; ++o) {
        const int64_t first_channel = o / c_out_group * c_in_group;
        rows[o + 1] = rows[o];
        for (int64_t place = 0; place < row_size; ++place)
            if (mask[o * row_size + place]) {
                ++rows[o + 1];
                ++columns[first_channel + place / taps + 1];
            }
    }
    for (int64_t c = 0; c < c_in; ++c) columns[c + 1] += columns[c];
    const int64_t nnz = rows[c_out];

    std::vector<int32_t> data(kHeader + (c_out + 1) + (c_in + 1) + 3 * nnz + c_out + c_in);
    const int64_t header[kHeader] = {c_out, c_in_group, kh, kw, groups, nnz};
    for (int i = 0; i < kHeader; ++i) data[i] = static_cast<int32_t>(header[i]);
    int32_t* out = data.data() + kHeader;
    for (int32_t start : rows) *out++ = start;
    int32_t* places = out;
    out += nnz;
    for (int32_t start : columns) *out++ = start;
    int32_t *places_transposed = out, *permutation = out + nnz, *order = out + 2 * nnz;
    write_order(rows, c_out_group, order);
    write_order(columns, c_in_group, order + c_out);
    int32_t value = 0;
    for (int64_t o = 0; o < c_out; ++o)
        for (int64_t place = 0; place < row_size; ++place)
            if (mask[o * row_size + place]) {
                const int64_t channel = o / c_out_group * c_in_group + place / taps;
                const int32_t slot = columns[channel]++;
                places[value] = static_cast<int32_t>(place);
                places_transposed[slot] = static_cast<int32_t>(o % c_out_group * taps + place % taps);
                permutation[slot] = value++;
            }
    return data;
}

}  // namespace sparsefit
