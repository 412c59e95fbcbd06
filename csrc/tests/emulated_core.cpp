// The bindings of the CUDA kernels over the emulator, as a Python module of its own: tests drive the layers
// through it, on memory of the host.
#include <pybind11/stl.h>

#include <optional>

#include "bindings.h"
#include "cuda/emulation.h"
#include "cuda/tile.cuh"
#include "params.h"

namespace py = pybind11;
using namespace sparsefit;
using namespace py::literals;

PYBIND11_MODULE(_emulated, m) {
    bind_conv(py::class_<Conv>(m, "Conv", py::module_local()));
    py::class_<Operand>(m, "Operand", py::module_local())
        .def(py::init([](Address address, std::optional<std::array<int64_t, 4>> strides, int lanes) {
                 return Operand{at<float>(address), strides.value_or(std::array<int64_t, 4>{}), lanes};
             }),
             "pointer"_a, py::kw_only(), "strides"_a = py::none(), "lanes"_a = 0);
    bind_cuda(m);
    m.def("set_order", [](uint64_t seed) { emulation::order_seed = seed; });
    m.def("set_full_warps", [](int64_t warps) { cuda::full_warps = warps; });
}
