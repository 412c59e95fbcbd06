"""Builds the compiled core ``sparsefit._core``: needs a C++17 compiler and pybind11, and no torch."""

import os
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup

sources = sorted(str(path) for folder in ("csrc", "csrc/cpu") for path in Path(folder).glob("*.cpp"))
headers = sorted(str(path) for path in Path("csrc").rglob("*.h"))

core = Pybind11Extension(
    "sparsefit._core",
    sources,
    depends=headers,
    include_dirs=["csrc"],
    cxx_std=17,
    extra_compile_args=["-O3", "-fopenmp", "-Wall", "-Wextra", "-Werror=odr"],
    extra_link_args=["-fopenmp"],
)

ParallelCompile("SPARSEFIT_BUILD_JOBS", default=os.cpu_count() or 1).install()
setup(ext_modules=[core])
