// Bindings that say whether the core can use a GPU.
#pragma once
#include <pybind11/pybind11.h>

void bind_device(pybind11::module_& m);
