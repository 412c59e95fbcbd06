#include "cpu/dispatch.h"

#include <string>

#include "cpu/isa.h"

namespace sparsefit {

const Kernels& kernels() {
    static const Kernels& row = []() -> const Kernels& {
#if defined(__x86_64__)
        for (const Kernels* candidate : {&avx512::kernels__avx512, &avx2::kernels__avx2})
            if (isa() == candidate->isa) return *candidate;
#endif
        (void)isa();  // refuses a name that is not usable
        return portable::kernels__portable;
    }();
    return row;
}

}  // namespace sparsefit
