"""The layers on emulated CUDA kernels: the core's CUDA bindings as a module of their own, on host memory."""

import contextlib
import importlib.machinery
import importlib.util
import sysconfig

import pybind11
import pytest

from sparsefit.conv import cuda, kernels
from tests.cuda.compiling import CXX, EMULATED, compiled, emulated_sources

BINDINGS = ["csrc/bindings_cuda.cpp", "csrc/packed.cpp", "csrc/tests/emulated_core.cpp"]


def load_emulated():
    """Return the module, compiled by the host compiler from the sources of the kernels."""
    name = "_emulated"
    include = [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_paths()['include']}"]
    flags = ["-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wno-unknown-pragmas"]
    command = [CXX, *EMULATED, *flags, *include, "-x", "c++", *emulated_sources(), *BINDINGS]
    path, _ = compiled(command, f"{name}{importlib.machinery.EXTENSION_SUFFIXES[0]}")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def emulate(patch):
    """Make every layer take its tensors for CUDA tensors, and its kernels from the emulator; return these."""
    module = load_emulated()
    patch.setattr(cuda, "missing", lambda core, device: "")
    patch.setattr(cuda, "is_on", lambda tensor: tensor.device.type == "cpu")
    patch.setattr(cuda, "stream_of", lambda tensor: 0)
    patch.setattr(kernels, "load_core", lambda: module)
    kernels._conv.cache_clear()
    return module


@pytest.fixture(scope="module")
def emulated():
    """Put the emulator in the place of a GPU for the tests of a module."""
    with contextlib.ExitStack() as stack:
        stack.callback(kernels._conv.cache_clear)
        yield emulate(stack.enter_context(pytest.MonkeyPatch.context()))
