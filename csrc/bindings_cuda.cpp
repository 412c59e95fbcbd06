// Bindings of the CUDA kernels; see _core.pyi. Addresses are of the device, streams are cudaStream_t as
// integers.
#include "bindings.h"

#include "cuda/kernels.h"
#include "packed.h"
#include "params.h"

namespace sparsefit {
namespace {

namespace py = pybind11;
using namespace py::literals;
using cuda::Where;

Pattern pattern_of(const Conv& c, Address pattern, int64_t nnz) {
    return Pattern(at<int32_t>(pattern), c.c_out, c.c_in_group(), c.kh, c.kw, c.groups, nnz);
}

void forward(const Conv& conv, const Operand& input, Address values, Address bias, Address pattern,
             int64_t nnz, const Operand& output, const Where& where) {
    cuda::forward(conv, input, at<float>(values), at<float>(bias), pattern_of(conv, pattern, nnz), output,
                  where);
}

void backward_input(const Conv& conv, const Operand& grad_output, Address values, Address pattern,
                    int64_t nnz, const Operand& grad_input, const Where& where) {
    cuda::backward_input(conv, grad_output, at<float>(values), pattern_of(conv, pattern, nnz), grad_input,
                         where);
}

void backward_weight(const Conv& conv, const Operand& input, const Operand& grad_output, Address pattern,
                     int64_t nnz, Address grad_values, Address grad_bias, const Where& where) {
    cuda::backward_weight(conv, input, grad_output, pattern_of(conv, pattern, nnz), at<float>(grad_values),
                          at<float>(grad_bias), where);
}

template <void (*COPY)(const cuda::Sizes&, const Operand&, const Operand&, const Where&)>
void copy(int64_t n, int64_t channels, int64_t height, int64_t width, const Operand& from, const Operand& to,
          const Where& where) {
    COPY({n, channels, height, width}, from, to, where);
}

}  // namespace

void bind_cuda(py::module_& m) {
    py::class_<Where>(m, "CudaWhere", py::module_local())
        .def(py::init([](int device, Address stream, Address scratch) {
                 return Where{device, at<void>(stream), at<float>(scratch)};
             }),
             "device"_a, "stream"_a, "scratch"_a = 0);
    m.def("cuda_forward_scratch", &cuda::forward_scratch, "conv"_a, "input"_a, "output"_a);
    m.def("cuda_backward_input_scratch", &cuda::backward_input_scratch, "conv"_a, "grad_output"_a,
          "grad_input"_a);
    m.def("cuda_backward_weight_scratch", &cuda::backward_weight_scratch, "conv"_a, "input"_a,
          "grad_output"_a, "nnz"_a, "with_bias"_a);
    m.def("cuda_forward", &forward, "conv"_a, "input"_a, "values"_a, "bias"_a, "pattern"_a, "nnz"_a,
          "output"_a, "where"_a, Unlocked());
    m.def("cuda_backward_input", &backward_input, "conv"_a, "grad_output"_a, "values"_a, "pattern"_a, "nnz"_a,
          "grad_input"_a, "where"_a, Unlocked());
    m.def("cuda_backward_weight", &backward_weight, "conv"_a, "input"_a, "grad_output"_a, "pattern"_a,
          "nnz"_a, "grad_values"_a, "grad_bias"_a, "where"_a, Unlocked());
    m.def("cuda_to_blocked", &copy<cuda::to_blocked>, "n"_a, "channels"_a, "height"_a, "width"_a, "strided"_a,
          "blocked"_a, "where"_a, Unlocked());
    m.def("cuda_from_blocked", &copy<cuda::from_blocked>, "n"_a, "channels"_a, "height"_a, "width"_a,
          "blocked"_a, "strided"_a, "where"_a, Unlocked());
}

}  // namespace sparsefit
