// Bindings that every build has: which GPUs it can use, or why none; and the Python type of CUDA errors.
#include "bindings.h"

#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/error.h"

namespace sparsefit {
namespace {

namespace py = pybind11;
using cuda::CudaError;

#ifdef SPARSEFIT_CUDA
using cuda::architectures;
using cuda::devices;
#else
std::vector<std::string> architectures() { return {}; }
std::vector<std::string> devices() {
    throw CudaError(
        "this build has no CUDA kernels (no nvcc was found when it was built, or SPARSEFIT_CUDA=0)");
}
#endif

std::string unavailable() {
    try {
        return devices().empty() ? "the CUDA driver shows no device" : "";
    } catch (const CudaError& error) {
        return error.what();
    }
}

}  // namespace

void bind_device(py::module_& m) {
    py::register_exception_translator([](std::exception_ptr thrown) {
        try {
            std::rethrow_exception(thrown);
        } catch (const CudaError& error) {
            py::set_error(py::module_::import("sparsefit.errors").attr("CudaError"), error.what());
        }
    });
    m.def("cuda_architectures", &architectures);
    m.def("cuda_devices", &devices);
    m.def("cuda_unavailable", &unavailable);
}

}  // namespace sparsefit
