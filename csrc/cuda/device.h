// What the CUDA half of the core was built for and what it finds here. Free of CUDA headers.
#pragma once
#include <string>
#include <vector>

namespace sparsefit::cuda {

// Code in this build: sm_XX runs on that architecture, compute_XX (PTX) on it and all later ones.
std::vector<std::string> architectures();

// Name, architecture and memory of each device, driver and runtime version; CudaError where there is no
// driver.
std::vector<std::string> devices();

}  // namespace sparsefit::cuda
