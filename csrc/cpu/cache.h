// The caches of this machine, as far as kernels ask for them.
#pragma once
#include <cstdint>

namespace sparsefit {

// Bytes of the first-level data cache of one core; 32 KB where the system does not say.
int64_t l1_bytes();

}  // namespace sparsefit
