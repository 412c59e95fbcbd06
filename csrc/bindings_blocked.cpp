// Bindings of the operations on blocked tensors; see _core.pyi.
#include "bindings.h"

#include "cpu/blocked.h"
#include "cpu/cross_entropy.h"
#include "cpu/dispatch.h"

namespace sparsefit {
namespace {

namespace py = pybind11;
using namespace py::literals;

// What Python passes for an argument of a kernel: addresses stand for pointers.
template <class T>
struct Passed {
    using type = T;
    static T take(T value) { return value; }
};
template <class T>
struct Passed<T*> {
    using type = Address;
    static T* take(Address address) { return at<T>(address); }
};

// Binds one entry of the table under its name; the row is looked up at the call, when the instruction set is
// known.
template <class... Args, class... Names>
void bind(py::module_& m, const char* name, void (*BlockedKernels::*kernel)(Args...), const Names&... names) {
    m.def(
        name,
        [kernel](typename Passed<Args>::type... args) {
            (kernels().blocked.*kernel)(Passed<Args>::take(args)...);
        },
        py::arg(names)..., Unlocked());
}

}  // namespace

void bind_blocked(py::module_& m) {
    py::class_<Blocked>(m, "Blocked")
        .def(py::init([](int64_t n, int64_t channels, int64_t height, int64_t width, int lanes,
                         int64_t border) { return Blocked{n, channels, height, width, lanes, border}; }),
             py::kw_only(), "n"_a, "channels"_a, "height"_a, "width"_a, "lanes"_a, "border"_a = 0);
    py::class_<Pool>(m, "Pool").def(
        py::init([](int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w, int64_t pad_top,
                    int64_t pad_left, int64_t h_out, int64_t w_out, int64_t border) {
            return Pool{kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, h_out, w_out, border};
        }),
        py::kw_only(), "kernel_h"_a, "kernel_w"_a, "stride_h"_a, "stride_w"_a, "pad_top"_a = 0,
        "pad_left"_a = 0, "h_out"_a, "w_out"_a, "border"_a = 0);
    py::class_<Pooling>(m, "Pooling")
        .def(py::init([](const Pool& pool, Address bias, Address output, Address places, Address grad_output,
                         Address grad_bias) {
                 return Pooling{pool,
                                at<float>(bias),
                                at<float>(output),
                                at<uint8_t>(places),
                                at<float>(grad_output),
                                at<float>(grad_bias)};
             }),
             py::kw_only(), "pool"_a, "bias"_a, "output"_a, "places"_a = 0, "grad_output"_a = 0,
             "grad_bias"_a = 0);
    using K = BlockedKernels;
    bind(m, "to_blocked", &K::to_blocked, "shape", "input", "output", "threads");
    bind(m, "from_blocked", &K::from_blocked, "shape", "input", "output", "threads");
    bind(m, "relu_backward", &K::relu_backward, "shape", "output", "grad_output", "grad_input", "threads");
    bind(m, "max_pool", &K::max_pool, "shape", "pool", "input", "output", "places", "threads");
    bind(m, "max_pool_backward", &K::max_pool_backward, "shape", "pool", "grad_output", "places",
         "grad_input", "threads");
    bind(m, "bias_relu_max_pool", &K::bias_relu_max_pool, "shape", "pool", "input", "bias", "output",
         "places", "threads");
    bind(m, "bias_relu_max_pool_backward", &K::bias_relu_max_pool_backward, "shape", "pool", "output",
         "grad_output", "places", "grad_input", "grad_bias", "threads");
    bind(m, "average_pool", &K::average_pool, "shape", "pool", "input", "output", "threads");
    bind(m, "average_pool_backward", &K::average_pool_backward, "shape", "pool", "grad_output", "grad_input",
         "threads");
    bind(m, "global_average_pool", &K::global_average_pool, "shape", "input", "output", "threads");
    bind(m, "global_average_pool_backward", &K::global_average_pool_backward, "shape", "grad_output",
         "grad_input", "threads");
    m.def(
        "cross_entropy",
        [](const Blocked& shape, Address logits, Address labels, double divisor, Address grad) {
            return cross_entropy(shape, at<float>(logits), at<int64_t>(labels), divisor, at<float>(grad));
        },
        "shape"_a, "logits"_a, "labels"_a, "divisor"_a, "grad"_a);
}

}  // namespace sparsefit
