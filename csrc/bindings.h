// The parts of the Python module, and what they share: pointers arrive as integers, and Python goes on while
// a kernel works.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>

namespace sparsefit {

using Address = std::uintptr_t;
using Unlocked = pybind11::call_guard<pybind11::gil_scoped_release>;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

void bind_blocked(pybind11::module_& m);
void bind_device(pybind11::module_& m);
void bind_cuda(pybind11::module_& m);  // in builds that have the CUDA kernels

}  // namespace sparsefit
