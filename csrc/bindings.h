// The parts of the Python module, and what they share: pointers arrive as integers, and Python goes on while
// a kernel works.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>

#include "params.h"

namespace sparsefit {

using Address = std::uintptr_t;
using Unlocked = pybind11::call_guard<pybind11::gil_scoped_release>;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// The core and the emulated one of the tests have the same Conv.
inline void bind_conv(pybind11::class_<Conv> conv) {
    using namespace pybind11::literals;
    const auto make = [](int64_t n, int64_t c_in, int64_t h_in, int64_t w_in, int64_t c_out, int64_t h_out,
                         int64_t w_out, int64_t kh, int64_t kw, int64_t stride_h, int64_t stride_w,
                         int64_t pad_top, int64_t pad_left, int64_t dilation_h, int64_t dilation_w,
                         int64_t groups) -> Conv {
        return {n,  c_in,     h_in,     w_in,    c_out,    h_out,      w_out,      kh,
                kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups};
    };
    conv.def(pybind11::init(make), pybind11::kw_only(), "n"_a, "c_in"_a, "h_in"_a, "w_in"_a, "c_out"_a,
             "h_out"_a, "w_out"_a, "kh"_a, "kw"_a, "stride_h"_a = 1, "stride_w"_a = 1, "pad_top"_a = 0,
             "pad_left"_a = 0, "dilation_h"_a = 1, "dilation_w"_a = 1, "groups"_a = 1);
}

void bind_blocked(pybind11::module_& m);
void bind_device(pybind11::module_& m);
void bind_cuda(pybind11::module_& m);  // in builds that have the CUDA kernels

}  // namespace sparsefit
