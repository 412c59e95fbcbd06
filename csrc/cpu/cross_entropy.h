// The loss of a classifier on blocked logits (blocks, classes, 1, 1, lanes), and its gradient in one pass.
#pragma once
#include <cstdint>

#include "cpu/blocked.h"

namespace sparsefit {

// Returns the sum of the cross-entropies over `divisor` and writes its gradient; that of idle lanes is 0.
// Throws std::out_of_range for a label that is no class. One body for every instruction set: a batch has a
// few hundred logits.
double cross_entropy(const Blocked& shape, const float* logits, const int64_t* labels, double divisor,
                     float* grad);

}  // namespace sparsefit
