// The Python module sparsefit._core: bindings and nothing else; see _core.pyi.
#include "bindings.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/nonfinite.h"
#include "packed.h"
#include "params.h"

namespace py = pybind11;
using namespace sparsefit;
using namespace py::literals;

namespace {

Operand make_operand(Address address, std::optional<std::array<int64_t, 4>> strides, int lanes,
                     int64_t border) {
    if (strides.has_value() == (lanes != 0)) throw py::value_error("give either strides or lanes");
    if (border < 0 || (border && !lanes)) throw py::value_error("only a blocked operand has a border");
    return {at<float>(address), strides.value_or(std::array<int64_t, 4>{}), lanes, border};
}

py::array_t<int32_t> pack_mask(py::array_t<bool, py::array::c_style | py::array::forcecast> mask,
                               int64_t groups) {
    if (mask.ndim() != 4) throw py::value_error("a mask is (C_out, C_in / groups, kh, kw)");
    const auto data = pack(mask.data(), mask.shape(0), mask.shape(1), mask.shape(2), mask.shape(3), groups);
    return py::array_t<int32_t>(static_cast<py::ssize_t>(data.size()), data.data());
}

void forward(const Conv& conv, const Operand& input, Address values, Address bias, Address pattern,
             const Operand& output, int threads, bool relu, const Finish* finish, const Pooling* pooling) {
    const Pattern p(at<int32_t>(pattern));
    // What is mended are the sums: they are finished or pooled afterwards then.
    const bool apart = (finish || pooling) && !all_finite(at<float>(values), p.nnz), rectify = relu && !apart;
    kernels().forward(conv, input, at<float>(values), at<float>(bias), p, output, rectify,
                      apart ? nullptr : finish, apart ? nullptr : pooling, threads);
    mend_forward(conv, input, at<float>(values), at<float>(bias), p, output, rectify);
    if (apart && finish)
        kernels().finish(view(output, conv.n, conv.c_out, conv.h_out, conv.w_out), *finish, relu, threads);
    if (apart && pooling)
        kernels().blocked.bias_relu_max_pool(output_of(conv, output), pooling->pool, output.data,
                                             pooling->bias, pooling->output, pooling->places, threads);
}

void backward_input(const Conv& conv, const Operand& grad_output, Address values, Address pattern,
                    const Operand& grad_input, int threads, const Finish* finish) {
    const Pattern p(at<int32_t>(pattern));
    const bool apart = finish && !all_finite(at<float>(values), p.nnz);
    kernels().backward_input(conv, grad_output, at<float>(values), p, grad_input, apart ? nullptr : finish,
                             threads);
    mend_backward_input(conv, grad_output, at<float>(values), p, grad_input);
    if (apart)
        kernels().finish(view(grad_input, conv.n, conv.c_in, conv.h_in, conv.w_in), *finish, false, threads);
}

void backward_weight(const Conv& conv, const Operand& input, const Operand& grad_output, Address pattern,
                     Address grad_values, Address grad_bias, int threads, const Pooling* pooling) {
    const Pattern p(at<int32_t>(pattern));
    kernels().backward_weight(conv, input, grad_output, p, at<float>(grad_values), at<float>(grad_bias),
                              pooling, threads);
    if (pooling && !all_finite(at<float>(grad_values), p.nnz))  // mending takes the whole gradient
        kernels().blocked.bias_relu_max_pool_backward(output_of(conv, grad_output), pooling->pool,
                                                      pooling->output, pooling->grad_output, pooling->places,
                                                      grad_output.data, pooling->grad_bias, threads);
    mend_backward_weight(conv, input, grad_output, p, at<float>(grad_values));
}

}  // namespace

PYBIND11_MODULE(_core, m) {
    m.doc() = "Compiled core of sparsefit; free of torch.";
    bind_conv(py::class_<Conv>(m, "Conv"));
    py::class_<Operand>(m, "Operand")
        .def(py::init(&make_operand), "pointer"_a, py::kw_only(), "strides"_a = py::none(), "lanes"_a = 0,
             "border"_a = 0);
    py::class_<Finish>(m, "Finish")
        .def(py::init([](Address before, int64_t before_channels, bool means, Address gate, Address after,
                         Address rectified) {
                 return Finish{at<float>(before), before_channels,  means,
                               at<float>(gate),   at<float>(after), at<float>(rectified)};
             }),
             py::kw_only(), "before"_a = 0, "before_channels"_a = 0, "means"_a = false, "gate"_a = 0,
             "after"_a = 0, "rectified"_a = 0);
    m.def("isas", &isas);
    m.def("isa", &isa);
    m.def(
        "fma_peak", [](double seconds, bool from_memory) { return kernels().fma_peak(seconds, from_memory); },
        "seconds"_a = 0.2, "from_memory"_a = false, Unlocked());
    m.def("pack", &pack_mask, "mask"_a, "groups"_a);
    m.def("forward", &forward, "conv"_a, "input"_a, "values"_a, "bias"_a, "pattern"_a, "output"_a,
          "threads"_a, "relu"_a = false, "finish"_a = py::none(), "pooling"_a = py::none(), Unlocked());
    m.def("backward_input", &backward_input, "conv"_a, "grad_output"_a, "values"_a, "pattern"_a,
          "grad_input"_a, "threads"_a, "finish"_a = py::none(), Unlocked());
    m.def("backward_weight", &backward_weight, "conv"_a, "input"_a, "grad_output"_a, "pattern"_a,
          "grad_values"_a, "grad_bias"_a, "threads"_a, "pooling"_a = py::none(), Unlocked());
    bind_blocked(m);
    bind_device(m);
#ifdef SPARSEFIT_CUDA
    bind_cuda(m);
#endif
}
