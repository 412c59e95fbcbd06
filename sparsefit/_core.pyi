"""Signatures of the compiled core. Pointers are addresses as ints; a pointer of 0 means "absent".

Operands are float32. An operand's layout is either

- *strided*: ``(N, C, H, W)`` with any four strides, in elements (NCHW, channels_last, expanded, sliced ...), or
- *blocked*: ``(ceil(N / lanes), C, H, W, lanes)``, contiguous, 64-byte aligned, the lanes past N hold zeros
  on input and are written as zeros on output. ``lanes`` is 16, or 1, 2, 4, 8 for batches below 16.

A *pattern* is a contiguous int32 array made by ``pack``: the places of the kept weights of one layer, in every
order that the kernels want. Its content is the core's own business; it holds no pointers, so it can be copied,
pickled and moved. Values, gradients of values and everything else that is "per kept weight" are ordered by the
flat index of the weight in ``(C_out, C_in / groups, kh, kw)``, ascending: ``weight[mask]``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class Conv:
    """Sizes of one convolution; a linear layer is a 1×1 convolution on 1×1 pixels."""

    def __init__(
        self,
        *,
        n: int,
        c_in: int,
        h_in: int,
        w_in: int,
        c_out: int,
        h_out: int,
        w_out: int,
        kh: int,
        kw: int,
        stride_h: int = 1,
        stride_w: int = 1,
        pad_top: int = 0,
        pad_left: int = 0,
        dilation_h: int = 1,
        dilation_w: int = 1,
        groups: int = 1,
    ) -> None: ...

class Operand:
    """Where a tensor lies: an address, and either four strides in elements or the lanes of a blocked layout."""

    def __init__(self, pointer: int, *, strides: Sequence[int] | None = None, lanes: int = 0) -> None: ...

def isas() -> list[str]:
    """Instruction sets that this build and this CPU both have, best first; the last is always "portable"."""

def isa() -> str:
    """Return the one in use: the best, or the one that SPARSEFIT_FORCE_ISA names (checked at first use)."""

def pack(mask: NDArray[np.bool_], groups: int) -> NDArray[np.int32]:
    """Make the pattern of a mask of shape (C_out, C_in / groups, kh, kw)."""

def forward(
    conv: Conv, input: Operand, values: int, bias: int, pattern: int, output: Operand, threads: int
) -> None:
    """Output = convolution of the input with the kept weights, plus the bias; every element is written."""

def backward_input(
    conv: Conv, grad_output: Operand, values: int, pattern: int, grad_input: Operand, threads: int
) -> None:
    """Gradient to the input; every element is written."""

def backward_weight(
    conv: Conv,
    input: Operand,
    grad_output: Operand,
    pattern: int,
    grad_values: int,
    grad_bias: int,
    threads: int,
) -> None:
    """Gradient to the kept values (nnz,), and to the bias (C_out,) when its pointer is not 0."""
