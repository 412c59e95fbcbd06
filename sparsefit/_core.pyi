"""Signatures of the compiled core. Pointers are addresses as ints; a pointer of 0 means "absent".

Operands are float32. An operand's layout is either

- *strided*: ``(N, C, H, W)`` with any four strides, in elements (NCHW, channels_last, expanded, sliced), or
- *blocked*: ``(ceil(N / lanes), C, H, W, lanes)``, contiguous, 64-byte aligned, the lanes past N hold zeros
  on input and are written as zeros on output. ``lanes`` is 16, or 1, 2, 4, 8 for batches below 16. With a
  ``border``, each image lies in the middle of one that is larger by ``border`` rows and columns of zeros on
  each side: a convolution that pads by no more reads it in place. No one writes to a border. On the CPU only.

A *pattern* is a contiguous int32 array made by ``pack``: the places of the kept weights of one layer, in
every order that the kernels want. Its content is the core's own business; it holds no pointers, so it can be
copied, pickled and moved. Values, gradients of values and everything else that is "per kept weight" are
ordered by the flat index of the weight in ``(C_out, C_in / groups, kh, kw)``, ascending: ``weight[mask]``.
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
    """Where a tensor lies: an address, and four strides in elements or the lanes of a blocked layout."""

    def __init__(
        self, pointer: int, *, strides: Sequence[int] | None = None, lanes: int = 0, border: int = 0
    ) -> None: ...

class Finish:
    """What is done to the numbers of a pass before they are stored: ``v = gate(v + before) + after``.

    ``gate`` leaves 0 of what has no positive number beside it: the gradient of a ReLU, given its output.
    All are addresses of tensors in the layout of the output, which is blocked; ``before`` has
    ``before_channels`` channels and adds nothing to the others. With ``means`` it is the gradient of means
    of 2 x 2 pixels: half as high and wide, and a quarter of it is added to each pixel. ``max(v, 0)`` goes to
    ``rectified`` besides. 0: left out.
    """

    def __init__(
        self,
        *,
        before: int = 0,
        before_channels: int = 0,
        means: bool = False,
        gate: int = 0,
        after: int = 0,
        rectified: int = 0,
    ) -> None: ...

def isas() -> list[str]:
    """Instruction sets that this build and this CPU both have, best first; the last is always "portable"."""

def isa() -> str:
    """Return the one in use: the best, or the one that SPARSEFIT_FORCE_ISA names (checked at first use)."""

def fma_peak(seconds: float = 0.2, from_memory: bool = False) -> float:
    """Return the GFLOP/s of multiply-adds of one thread, with the set in use.

    On registers alone, or with one factor of each read from L1.
    """

def cuda_architectures() -> list[str]:
    """Code for GPUs in this build, as "sm_90" or "compute_100" (PTX); empty if it was built without CUDA."""

def cuda_devices() -> list[str]:
    """Describe the GPUs that the CUDA driver shows; sparsefit.errors.CudaError says why there are none."""

def cuda_unavailable() -> str:
    """Return why no tensor on a GPU can be used, or an empty string if it can."""

def pack(mask: NDArray[np.bool_], groups: int) -> NDArray[np.int32]:
    """Make the pattern of a mask of shape (C_out, C_in / groups, kh, kw)."""

def forward(
    conv: Conv,
    input: Operand,
    values: int,
    bias: int,
    pattern: int,
    output: Operand,
    threads: int,
    relu: bool = False,
    finish: Finish | None = None,
    pooling: Pooling | None = None,
) -> None:
    """Output = convolution of the input with the kept weights, plus the bias; every element is written.

    ``relu`` replaces negative outputs by 0 (NaN stays NaN), after what ``finish`` does. With a ``pooling``,
    which excludes ``finish``, ``relu`` and a bias here, ``output`` is work space: what it holds afterwards is
    unspecified.
    """

def backward_input(
    conv: Conv,
    grad_output: Operand,
    values: int,
    pattern: int,
    grad_input: Operand,
    threads: int,
    finish: Finish | None = None,
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
    pooling: Pooling | None = None,
) -> None:
    """Gradient to the kept values (nnz,), and to the bias (C_out,) when its pointer is not 0.

    With a ``pooling``, ``grad_output`` is work space, and the gradient follows from that of the pooled map.
    """

# Operations on blocked tensors. Operands are addresses of float32 in the layout that ``Blocked`` says; every
# element of a result is written, and the lanes past N are zero in every result.

class Blocked:
    """Sizes of a blocked tensor (ceil(n / lanes), channels, height, width, lanes), without its border."""

    def __init__(
        self, *, n: int, channels: int, height: int, width: int, lanes: int, border: int = 0
    ) -> None: ...

class Pool:
    """Windows of a pooling, at most 256 pixels each; pixels outside the image are left out of a maximum.

    ``border`` is that of the output.
    """

    def __init__(
        self,
        *,
        kernel_h: int,
        kernel_w: int,
        stride_h: int,
        stride_w: int,
        pad_top: int = 0,
        pad_left: int = 0,
        h_out: int,
        w_out: int,
        border: int = 0,
    ) -> None: ...

class Pooling:
    """Bias, ReLU and max-pooling behind a convolution of blocked operands, as `bias_relu_max_pool`.

    Addresses of the bias, the pooled map and the places of the maxima; the last three are for gradients.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        bias: int,
        output: int,
        places: int = 0,
        grad_output: int = 0,
        grad_bias: int = 0,
    ) -> None: ...

def to_blocked(shape: Blocked, input: Operand, output: int, threads: int) -> None:
    """Blocked copy of a strided operand."""

def from_blocked(shape: Blocked, input: int, output: Operand, threads: int) -> None:
    """Strided copy of a blocked tensor."""

def relu_backward(shape: Blocked, output: int, grad_output: int, grad_input: int, threads: int) -> None:
    """grad_output where the output of a ReLU is not <= 0, else 0. grad_input may be grad_output."""

def max_pool(shape: Blocked, pool: Pool, input: int, output: int, places: int, threads: int) -> None:
    """Maxima, and for each its place in the window (uint8, row-major, laid out as the output).

    The place is that of the first maximum, or of the last NaN, as in torch. 0 as ``places`` leaves them out.
    ``shape`` is that of the input, here and below.
    """

def max_pool_backward(
    shape: Blocked, pool: Pool, grad_output: int, places: int, grad_input: int, threads: int
) -> None:
    """Gradient to the input of max_pool."""

def bias_relu_max_pool(
    shape: Blocked, pool: Pool, input: int, bias: int, output: int, places: int, threads: int
) -> None:
    """max_pool(relu(input + bias)) in one pass over memory; a bias of 0 is none."""

def bias_relu_max_pool_backward(
    shape: Blocked,
    pool: Pool,
    output: int,
    grad_output: int,
    places: int,
    grad_input: int,
    grad_bias: int,
    threads: int,
) -> None:
    """Gradients to the input and (unless grad_bias is 0) to the bias (C,)."""

def average_pool(shape: Blocked, pool: Pool, input: int, output: int, threads: int) -> None:
    """Sum over each window, divided by kernel_h * kernel_w: pixels outside the image count as zeros."""

def average_pool_backward(
    shape: Blocked, pool: Pool, grad_output: int, grad_input: int, threads: int
) -> None:
    """Gradient to the input of average_pool."""

def global_average_pool(shape: Blocked, input: int, output: int, threads: int) -> None:
    """Mean over all pixels: (ceil(n / lanes), channels, 1, 1, lanes)."""

def global_average_pool_backward(shape: Blocked, grad_output: int, grad_input: int, threads: int) -> None:
    """Gradient to the input of global_average_pool."""

def cross_entropy(shape: Blocked, logits: int, labels: int, divisor: float, grad: int) -> float:
    """Sum of the cross-entropies of n logits of `channels` classes and int64 labels, over `divisor`.

    Writes its gradient. IndexError for a label that is no class.
    """

# The same on a GPU, in builds that have nvcc (``cuda_architectures``). Addresses are of the device; blocked
# operands have 4, 8 or 16 lanes and are 16-byte aligned. Kernels are queued, nothing waits for them; failures
# are ``sparsefit.errors.CudaError``s that name the kernel.

class CudaWhere:
    """A device, a cudaStream_t of it, and scratch memory that lives until the stream has passed the call."""

    def __init__(self, device: int, stream: int, scratch: int = 0) -> None: ...

def cuda_forward_scratch(conv: Conv, input: Operand, output: Operand) -> int:
    """Floats of scratch memory that ``cuda_forward`` needs."""

def cuda_backward_input_scratch(conv: Conv, grad_output: Operand, grad_input: Operand) -> int:
    """Floats of scratch memory that ``cuda_backward_input`` needs."""

def cuda_backward_weight_scratch(
    conv: Conv, input: Operand, grad_output: Operand, nnz: int, with_bias: bool
) -> int:
    """Floats of scratch memory that ``cuda_backward_weight`` needs."""

def cuda_forward(
    conv: Conv,
    input: Operand,
    values: int,
    bias: int,
    pattern: int,
    nnz: int,
    output: Operand,
    where: CudaWhere,
) -> None:
    """``forward`` on a GPU."""

def cuda_backward_input(
    conv: Conv,
    grad_output: Operand,
    values: int,
    pattern: int,
    nnz: int,
    grad_input: Operand,
    where: CudaWhere,
) -> None:
    """``backward_input`` on a GPU."""

def cuda_backward_weight(
    conv: Conv,
    input: Operand,
    grad_output: Operand,
    pattern: int,
    nnz: int,
    grad_values: int,
    grad_bias: int,
    where: CudaWhere,
) -> None:
    """``backward_weight`` on a GPU."""

def cuda_to_blocked(
    n: int, channels: int, height: int, width: int, strided: Operand, blocked: Operand, where: CudaWhere
) -> None:
    """``to_blocked`` on a GPU."""

def cuda_from_blocked(
    n: int, channels: int, height: int, width: int, blocked: Operand, strided: Operand, where: CudaWhere
) -> None:
    """``from_blocked`` on a GPU."""
