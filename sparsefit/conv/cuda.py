"""The kernels on a GPU: ``kernels`` calls these for CUDA tensors, with the operands of the core.

Kernels are queued on torch's current stream; nothing waits for the device, and all memory comes from torch's
caching allocator, so a call can be captured in a CUDA graph. No GPU run has taken place yet: the tests run
the kernels on an emulator.
"""

from __future__ import annotations

import functools
import re
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import Tensor

from sparsefit.errors import CudaError, InputError

LEAST_LANES = 4
"""A thread moves the values of four samples at once."""
CROSSOVER, CROSSOVER_TF32 = 0.23, 0.04
"""Densities below which "auto" takes the sparse kernels, when torch's dense ones run in float32 or in TF32.

From the literature, not measured here: a kernel of this kind breaks even with cuBLAS in float32 at a density
near 0.23 (Sputnik on an A100), and with tensor cores, at about seven times that rate, near 0.04.
"""


def is_on(tensor: Tensor) -> bool:
    """Whether a tensor lies on a GPU."""
    return tensor.is_cuda


def stream_of(tensor: Tensor) -> int:
    """Return the handle of torch's current stream on the device of the tensor."""
    return torch.cuda.current_stream(tensor.device).cuda_stream


def where(core: ModuleType, tensor: Tensor, floats: int = 0) -> tuple[Any, Tensor]:
    """Return the core's word for device, stream and scratch memory, and that memory, to be kept till then."""
    scratch = tensor.new_empty(floats)
    return core.CudaWhere(tensor.get_device(), stream_of(tensor), scratch.data_ptr()), scratch


@functools.cache
def missing(core: ModuleType, device: int) -> str:
    """Return why a device cannot run the kernels of this build, or "" if it can."""
    built, unusable = core.cuda_architectures(), core.cuda_unavailable()
    if not built or unusable:
        return unusable
    capability = torch.cuda.get_device_capability(device)
    if any(serves(code, capability) for code in built):
        return ""
    return (
        f"the device is sm_{capability[0]}{capability[1]}, and this build has kernels for "
        f"{', '.join(built)} (SPARSEFIT_CUDA_ARCHS chooses others)"
    )


def serves(code: str, capability: tuple[int, int]) -> bool:
    """Whether code such as ``sm_90`` or ``compute_100`` runs on a device of this compute capability.

    Machine code runs on later devices of the same major version, PTX on all later ones; with the suffix ``a``
    both run on one architecture only, with ``f`` on its major version.
    """
    parts = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", code)
    assert parts is not None
    kind, major, minor, suffix = parts.groups()
    least = int(major), int(minor)
    if suffix == "a":
        return capability == least
    is_later = capability >= least
    return is_later if kind == "compute" and not suffix else is_later and capability[0] == least[0]


def refuse(core: ModuleType, device: torch.device) -> NoReturn:
    """Say why there are no kernels for a device; called where there are none.

    Raises
    ------
    CudaError
        Always.
    """
    raise CudaError(
        f"backend='sparse' on {device}: {missing(core, device.index)}. Build sparsefit where nvcc is found "
        "(SPARSEFIT_CUDA=1 pip install .), or use backend='dense' or 'auto', which need no kernels"
    )


def check_lanes(lanes: int) -> None:
    """Refuse blocks narrower than what a thread moves; ``to_blocked`` of a CUDA tensor makes none."""
    if lanes < LEAST_LANES:
        raise InputError(
            f"a blocked batch on a GPU has 4, 8 or 16 lanes, got {lanes}: call to_blocked after moving the "
            "batch to the GPU"
        )


def uses_tf32(is_linear: bool) -> bool:
    """Whether torch would run a dense linear layer, or else a convolution, in TF32."""
    setting: Any = torch.backends.cuda.matmul if is_linear else torch.backends.cudnn
    if not is_linear and hasattr(setting, "conv"):
        setting = setting.conv
    if hasattr(setting, "fp32_precision"):  # torch 2.9 and later refuse the older question in some states
        return setting.fp32_precision == "tf32"
    return setting.allow_tf32
