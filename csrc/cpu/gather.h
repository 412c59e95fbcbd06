// A gather convolution: the common form of forward and backward_input, chosen before any kernel runs.
#pragma once
#include <cstdint>
#include <vector>
#include "cpu/plan.h"
#include "packed.h"
#include "params.h"

namespace sparsefit {

struct Pooling;

// Output pixels that share one set of taps: all of them in forward, one class per stride phase in
// backward_input. Pixel (i, j) of the class is pixel (first_row + i * step_row, first_column + j *
// step_column) of the operand.
struct PixelClass {
    int64_t first_row, step_row, rows_from, rows_to;  // i runs over [rows_from, rows_to)
    int64_t first_column, step_column, columns_from, columns_to;
    std::vector<Place> table;
};

struct Gather {
    View input, output;
    Stage stage;
    std::vector<PixelClass> classes;
    int64_t rows;                                           // i of every class lies in [0, rows)
    int64_t row_count, rows_per_group, channels_per_group;  // of the pattern
    const int32_t *starts, *places, *permutation;
    const float *values, *bias;
    bool relu;
    const Finish* finish;  // null: nothing but the sums; else the output is made of whole vectors
    // Null: none; else the output is not written, but what becomes of it is. Windows are 2 x 2 and cover it.
    const Pooling* pooling;
};

Gather forward_gather(const Conv&, const Operand& input, const float* values, const float* bias,
                      const Pattern&, const Operand& output, bool relu);
Gather backward_input_gather(const Conv&, const Operand& grad_output, const float* values, const Pattern&,
                             const Operand& grad_input);

}  // namespace sparsefit
