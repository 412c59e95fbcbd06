// The part of the Python module that is about blocked tensors.
#pragma once
#include <pybind11/pybind11.h>

namespace sparsefit {

void bind_blocked(pybind11::module_& m);

}  // namespace sparsefit
