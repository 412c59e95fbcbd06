#include "cpu/isa.h"

#include <cstdlib>
#include <stdexcept>

namespace sparsefit {
namespace {

std::vector<std::string> usable() {
    std::vector<std::string> names;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        names.push_back("avx512");
    if (avx2) names.push_back("avx2");
#endif
    names.push_back("portable");
    return names;
}

std::string chosen() {
    const char* forced = std::getenv("SPARSEFIT_FORCE_ISA");
    if (!forced || !*forced) return isas().front();
    std::string allowed;
    for (const std::string& name : isas()) {
        if (name == forced) return name;
        allowed += (allowed.empty() ? "" : ", ") + name;
    }
    throw std::invalid_argument("SPARSEFIT_FORCE_ISA is '" + std::string(forced) +
                                "', which this machine cannot use; usable here: " + allowed +
                                ". Unset it to get the best one.");
}

}  // namespace

const std::vector<std::string>& isas() {
    static const std::vector<std::string> names = usable();
    return names;
}

const std::string& isa() {
    static const std::string name = chosen();
    return name;
}

}  // namespace sparsefit
