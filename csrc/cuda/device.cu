#include "cuda/device.h"

#include <sstream>

#include "cuda/launch.h"

namespace sparsefit::cuda {
namespace {

std::string version(int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

}  // namespace

std::vector<std::string> architectures() {
    std::istringstream words(SPARSEFIT_CUDA_CODE);
    std::vector<std::string> found;
    for (std::string word; std::getline(words, word, ';');) found.push_back(word);
    return found;
}

std::vector<std::string> devices() {
    int count = 0, driver = 0, runtime = 0;
    check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    std::vector<std::string> found;
    for (int i = 0; i < count; ++i) {
        cudaDeviceProp properties;
        check(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
        found.push_back(std::string(properties.name) + ", sm_" + std::to_string(properties.major) +
                        std::to_string(properties.minor) + ", " +
                        std::to_string(properties.totalGlobalMem >> 20) + " MiB, driver " + version(driver) +
                        ", runtime " + version(runtime));
    }
    return found;
}

}  // namespace sparsefit::cuda
