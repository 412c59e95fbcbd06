// Bindings of the CUDA kernels, in builds that have them.
#pragma once
#include <pybind11/pybind11.h>

namespace sparsefit {
void bind_cuda(pybind11::module_& m);
}
