// The packed pattern of a mask: one int32 array without pointers, drawn in csrc/README.md.
#pragma once
#include <cstdint>
#include <vector>

namespace sparsefit {

// A reading frame over the array. "Local" channels count from the start of their group.
struct Pattern {
    int64_t c_out, c_in_group, kh, kw, groups, nnz;
    const int32_t* rows;               // (c_out + 1) first nonzero of each output channel
    const int32_t* places;             // (nnz) flat index in (c_in_group, kh, kw), ascending within a row
    const int32_t* rows_transposed;    // (c_in + 1) first nonzero of each input channel
    const int32_t* places_transposed;  // (nnz) flat index in (c_out / groups, kh, kw), ascending within a row
    const int32_t* permutation;        // (nnz) where the value of each transposed nonzero is among the values
    const int32_t* order;              // (c_out) output channels by group, then by falling number of nonzeros
    const int32_t* order_transposed;   // (c_in) the same of the input channels

    explicit Pattern(const int32_t* data);
    // Of an array that the host cannot read: its header comes from elsewhere.
    Pattern(const int32_t* data, int64_t c_out, int64_t c_in_group, int64_t kh, int64_t kw, int64_t groups,
            int64_t nnz);
};

// Throws std::invalid_argument when the mask is too large for 32-bit indices.
std::vector<int32_t> pack(const bool* mask, int64_t c_out, int64_t c_in_group, int64_t kh, int64_t kw,
                          int64_t groups);

}  // namespace sparsefit
