"""The kernels on a GPU: ``kernels`` calls these for CUDA tensors, with the operands of the core.

Kernels are queued on torch's current stream; nothing waits for the device, and all memory comes from torch's
caching allocator, so a call can be captured in a CUDA graph. No GPU run has taken place yet: the tests run
the kernels on an emulator.
"""

from __future__ import annotations

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


def refuse(core: ModuleType, device: torch.device) -> NoReturn:
    """Say why there are no kernels for a device; called where there are none.

    Raises
    ------
    CudaError
        Always.
    """
    raise CudaError(
        f"backend='sparse' on {device}: {core.cuda_unavailable()}. Build sparsefit where nvcc is found "
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
