// Instruction sets: which ones this build and this CPU both have, and which one is in use.
#pragma once
#include <string>
#include <vector>

namespace sparsefit {

// Best first; the last is always "portable".
const std::vector<std::string>& isas();

// The best usable one, or the one that SPARSEFIT_FORCE_ISA names; read once. Throws std::invalid_argument
// when it names one that is unknown, or not usable on this machine.
const std::string& isa();

}  // namespace sparsefit
