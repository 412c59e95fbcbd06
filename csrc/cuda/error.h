// What a failed CUDA call becomes: sparsefit.errors.CudaError in Python. No CUDA header is needed to catch
// it.
#pragma once
#include <stdexcept>
#include <string>

namespace sparsefit::cuda {

class CudaError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace sparsefit::cuda
