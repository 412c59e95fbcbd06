// The Python module sparsefit._core: bindings and nothing else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <string>
#include <vector>

PYBIND11_MODULE(_core, m) {
    m.doc() = "Compiled core of sparsefit; free of torch.";
    m.def("isas", [] { return std::vector<std::string>{"portable"}; });
    m.def("isa", [] { return std::string("portable"); });
}
