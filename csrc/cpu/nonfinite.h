// Infinities and NaN among the operands: see nonfinite.cpp.
#pragma once
#include "packed.h"
#include "params.h"

namespace sparsefit {

bool all_finite(const float* x, int64_t count);

// Each is called after the kernel of its pass and writes again what staged
// zeros may have spoilt.
void mend_forward(const Conv&, const Operand& input, const float* values, const float* bias, const Pattern&,
                  const Operand& output, bool relu);
void mend_backward_input(const Conv&, const Operand& grad_output, const float* values, const Pattern&,
                         const Operand& grad_input);
void mend_backward_weight(const Conv&, const Operand& input, const Operand& grad_output, const Pattern&,
                          float* grad_values);

}  // namespace sparsefit
