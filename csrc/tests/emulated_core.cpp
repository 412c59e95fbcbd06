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

namespace {

Conv make_conv(int64_t n, int64_t c_in, int64_t h_in, int64_t w_in, int64_t c_out, int64_t h_out,
               int64_t w_out, int64_t kh, int64_t kw, int64_t stride_h, int64_t stride_w, int64_t pad_top,
               int64_t pad_left, int64_t dilation_h, int64_t dilation_w, int64_t groups) {
    return {n,  c_in,     h_in,     w_in,    c_out,    h_out,      w_out,      kh,
            kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups};
}

}  // namespace

PYBIND11_MODULE(_emulated, m) {
    py::class_<Conv>(m, "Conv", py::module_local())
        .def(py::init(&make_conv), py::kw_only(), "n"_a, "c_in"_a, "h_in"_a, "w_in"_a, "c_out"_a, "h_out"_a,
             "w_out"_a, "kh"_a, "kw"_a, "stride_h"_a, "stride_w"_a, "pad_top"_a, "pad_left"_a, "dilation_h"_a,
             "dilation_w"_a, "groups"_a);
    py::class_<Operand>(m, "Operand", py::module_local())
        .def(py::init([](Address address, std::optional<std::array<int64_t, 4>> strides, int lanes) {
                 return Operand{at<float>(address), strides.value_or(std::array<int64_t, 4>{}), lanes};
             }),
             "pointer"_a, py::kw_only(), "strides"_a = py::none(), "lanes"_a = 0);
    bind_cuda(m);
    m.def("set_order", [](uint64_t seed) { emulation::order_seed = seed; });
    m.def("set_full_warps", [](int64_t warps) { cuda::full_warps = warps; });
}
