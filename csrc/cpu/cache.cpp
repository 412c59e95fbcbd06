#include "cpu/cache.h"

#if defined(__linux__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace sparsefit {

int64_t l1_bytes() {
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    static const int64_t bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE);
    if (bytes > 0) return bytes;
#endif
    return 32 * 1024;
}

}  // namespace sparsefit
