"""The door to the compiled core: tensors in, addresses and strides out, outputs allocated here.

One function a pass. A tensor is strided, (N, C, H, W) with any strides, when ``n`` is None; else it is
blocked, (ceil(n / lanes), C, H, W, lanes). Checks were made by the caller. For the passes and for the way
into blocks and out of them, ``cuda`` has kernels too; poolings have them on the CPU only.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from sparsefit.conv import cuda
from sparsefit.conv.geometry import Geometry
from sparsefit.conv.layout import memory_format
from sparsefit.errors import MissingCoreError

ALIGNMENT = 64


class Window(NamedTuple):
    """Windows of a pooling; a flat tuple of ints, because that is what a custom op can take."""

    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    h_out: int
    w_out: int


@functools.cache
def load_core() -> ModuleType:
    """Return ``sparsefit._core``.

    Raises
    ------
    MissingCoreError
        The core was not built, or was built for something else.
    """
    try:
        from sparsefit import _core
    except ImportError as error:
        raise MissingCoreError(
            f"the compiled core sparsefit._core cannot be loaded ({error}): with a C++17 compiler, run "
            "'pip install .' in the source tree, or 'python setup.py build_ext --inplace' for an editable "
            "install"
        ) from error
    return _core


def handles(tensor: Tensor) -> bool:
    """Whether the core has kernels for tensors like this one; the reference serves all others."""
    if tensor.dtype != torch.float32:
        return False
    return bool(load_core().cuda_architectures()) if cuda.is_on(tensor) else tensor.device.type == "cpu"


def forward(
    input: Tensor, values: Tensor, bias: Tensor | None, pattern: Tensor, geometry: Geometry, n: int | None
) -> Tensor:
    """Return the output of the convolution, in the layout of the input."""
    sizes = _sizes(geometry, *input.shape[2:4])
    output = empty(input, geometry.c_out, sizes[2:], n)
    values = values.contiguous()
    bias = None if bias is None else bias.contiguous()
    x = _readable(input, n)
    if cuda.is_on(input):
        core, conv = load_core(), _conv(geometry, _samples(input, n), *sizes)
        x_operand, y_operand = _operand(x, n), _operand(output, n)
        where, _scratch = cuda.where(core, input, core.cuda_forward_scratch(conv, x_operand, y_operand))
        core.cuda_forward(
            conv,
            x_operand,
            values.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            pattern.data_ptr(),
            values.shape[0],
            y_operand,
            where,
        )
        return output
    load_core().forward(
        _conv(geometry, _samples(input, n), *sizes),
        _operand(x, n),
        values.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        pattern.data_ptr(),
        _operand(output, n),
        torch.get_num_threads(),
    )
    return output


def backward_input(
    grad_output: Tensor,
    values: Tensor,
    pattern: Tensor,
    geometry: Geometry,
    size: Sequence[int],
    n: int | None,
) -> Tensor:
    """Return the gradient to an input of the given (H, W), in the layout of the gradient to the output."""
    grad_input = empty(grad_output, geometry.c_in, size, n)
    values = values.contiguous()
    g = _readable(grad_output, n)
    if cuda.is_on(g):
        core, conv = load_core(), _conv(geometry, _samples(g, n), *_sizes(geometry, *size))
        g_operand, x_operand = _operand(g, n), _operand(grad_input, n)
        where, _scratch = cuda.where(core, g, core.cuda_backward_input_scratch(conv, g_operand, x_operand))
        core.cuda_backward_input(
            conv, g_operand, values.data_ptr(), pattern.data_ptr(), values.shape[0], x_operand, where
        )
        return grad_input
    load_core().backward_input(
        _conv(geometry, _samples(grad_output, n), *_sizes(geometry, *size)),
        _operand(g, n),
        values.data_ptr(),
        pattern.data_ptr(),
        _operand(grad_input, n),
        torch.get_num_threads(),
    )
    return grad_input


def backward_weight(
    input: Tensor,
    grad_output: Tensor,
    pattern: Tensor,
    nnz: int,
    with_bias: bool,
    geometry: Geometry,
    n: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients to the kept values (nnz,) and to the bias (C_out,), or (0,) without a bias."""
    grad_values = input.new_empty(nnz)
    grad_bias = input.new_empty(geometry.c_out if with_bias else 0)
    x, g = _readable(input, n), _readable(grad_output, n)
    if cuda.is_on(x):
        core, conv = load_core(), _conv(geometry, _samples(x, n), *_sizes(geometry, *x.shape[2:4]))
        operands = (_operand(x, n), _operand(g, n))
        floats = core.cuda_backward_weight_scratch(conv, *operands, nnz, with_bias)
        where, _scratch = cuda.where(core, x, floats)
        core.cuda_backward_weight(
            conv,
            *operands,
            pattern.data_ptr(),
            nnz,
            grad_values.data_ptr(),
            grad_bias.data_ptr() if with_bias else 0,
            where,
        )
        return grad_values, grad_bias
    load_core().backward_weight(
        _conv(geometry, _samples(input, n), *_sizes(geometry, *input.shape[2:4])),
        _operand(x, n),
        _operand(g, n),
        pattern.data_ptr(),
        grad_values.data_ptr(),
        grad_bias.data_ptr() if with_bias else 0,
        torch.get_num_threads(),
    )
    return grad_values, grad_bias


def to_blocks(x: Tensor, lanes: int) -> Tensor:
    """Return the blocks (ceil(N / lanes), C, H, W, lanes) of a strided (N, C, H, W)."""
    n, channels, height, width = x.shape
    blocks = x.new_empty((-(-n // lanes), channels, height, width, lanes))
    if cuda.is_on(x):
        core = load_core()
        core.cuda_to_blocked(
            n, channels, height, width, _operand(x, None), _operand(blocks, n), cuda.where(core, x)[0]
        )
        return blocks
    load_core().to_blocked(
        _blocked(n, channels, height, width, lanes),
        _operand(x, None),
        blocks.data_ptr(),
        torch.get_num_threads(),
    )
    return blocks


def from_blocks(data: Tensor, n: int) -> Tensor:
    """Return the contiguous (N, C, H, W) of blocks."""
    shape = data.shape[1:4]
    data = _readable(data, n)
    output = data.new_empty((n, *shape))
    if cuda.is_on(data):
        core = load_core()
        core.cuda_from_blocked(
            n, *shape, _operand(data, n), _operand(output, None), cuda.where(core, data)[0]
        )
        return output
    load_core().from_blocked(
        _blocked(n, *shape, data.shape[4]), data.data_ptr(), _operand(output, None), torch.get_num_threads()
    )
    return output


def max_pool(data: Tensor, n: int, window: Window) -> tuple[Tensor, Tensor]:
    """Return the maxima of windows, and the place of each in its window as uint8."""
    data = _readable(data, n)
    output = empty(data, data.shape[1], (window.h_out, window.w_out), n)
    places = torch.empty_like(output, dtype=torch.uint8)
    load_core().max_pool(
        _blocked(n, *data.shape[1:]),
        _pool(window),
        data.data_ptr(),
        output.data_ptr(),
        places.data_ptr(),
        torch.get_num_threads(),
    )
    return output, places


def max_pool_backward(
    grad_output: Tensor, places: Tensor, n: int, window: Window, size: Sequence[int]
) -> Tensor:
    """Return the gradient to an input of the given (H, W)."""
    grad_output = _readable(grad_output, n)
    grad_input = empty(grad_output, grad_output.shape[1], size, n)
    load_core().max_pool_backward(
        _blocked(n, *grad_input.shape[1:]),
        _pool(window),
        grad_output.data_ptr(),
        places.data_ptr(),
        grad_input.data_ptr(),
        torch.get_num_threads(),
    )
    return grad_input


def bias_relu_max_pool(data: Tensor, bias: Tensor, n: int, window: Window) -> tuple[Tensor, Tensor]:
    """Return the maxima of max(data + bias, 0) over windows, and the place of each as uint8."""
    data, bias = _readable(data, n), bias.contiguous()
    output = empty(data, data.shape[1], (window.h_out, window.w_out), n)
    places = torch.empty_like(output, dtype=torch.uint8)
    load_core().bias_relu_max_pool(
        _blocked(n, *data.shape[1:]),
        _pool(window),
        data.data_ptr(),
        bias.data_ptr(),
        output.data_ptr(),
        places.data_ptr(),
        torch.get_num_threads(),
    )
    return output, places


def bias_relu_max_pool_backward(
    output: Tensor, grad_output: Tensor, places: Tensor, n: int, window: Window, size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the gradients to an input of the given (H, W) and to the bias."""
    output, grad_output = _readable(output, n), _readable(grad_output, n)
    grad_input = empty(grad_output, grad_output.shape[1], size, n)
    grad_bias = grad_output.new_empty(grad_output.shape[1])
    load_core().bias_relu_max_pool_backward(
        _blocked(n, *grad_input.shape[1:]),
        _pool(window),
        output.data_ptr(),
        grad_output.data_ptr(),
        places.data_ptr(),
        grad_input.data_ptr(),
        grad_bias.data_ptr(),
        torch.get_num_threads(),
    )
    return grad_input, grad_bias


def average_pool(data: Tensor, n: int, window: Window) -> Tensor:
    """Return the sum over each window divided by its pixels; pixels outside the image count as zeros."""
    data = _readable(data, n)
    output = empty(data, data.shape[1], (window.h_out, window.w_out), n)
    load_core().average_pool(
        _blocked(n, *data.shape[1:]),
        _pool(window),
        data.data_ptr(),
        output.data_ptr(),
        torch.get_num_threads(),
    )
    return output


def average_pool_backward(grad_output: Tensor, n: int, window: Window, size: Sequence[int]) -> Tensor:
    """Return the gradient to an input of the given (H, W)."""
    grad_output = _readable(grad_output, n)
    grad_input = empty(grad_output, grad_output.shape[1], size, n)
    load_core().average_pool_backward(
        _blocked(n, *grad_input.shape[1:]),
        _pool(window),
        grad_output.data_ptr(),
        grad_input.data_ptr(),
        torch.get_num_threads(),
    )
    return grad_input


def _samples(tensor: Tensor, n: int | None) -> int:
    return tensor.shape[0] if n is None else n


def _sizes(geometry: Geometry, height: int, width: int) -> tuple[int, int, int, int]:
    return (height, width, *geometry.output_size(height, width))


@functools.lru_cache(maxsize=4096)
def _conv(geometry: Geometry, n: int, h_in: int, w_in: int, h_out: int, w_out: int) -> object:
    return load_core().Conv(
        n=n,
        c_in=geometry.c_in,
        h_in=h_in,
        w_in=w_in,
        c_out=geometry.c_out,
        h_out=h_out,
        w_out=w_out,
        kh=geometry.kh,
        kw=geometry.kw,
        stride_h=geometry.stride_h,
        stride_w=geometry.stride_w,
        pad_top=geometry.pad_top,
        pad_left=geometry.pad_left,
        dilation_h=geometry.dilation_h,
        dilation_w=geometry.dilation_w,
        groups=geometry.groups,
    )


@functools.lru_cache(maxsize=4096)
def _blocked(n: int, channels: int, height: int, width: int, lanes: int) -> object:
    return load_core().Blocked(n=n, channels=channels, height=height, width=width, lanes=lanes)


@functools.lru_cache(maxsize=4096)
def _pool(window: Window) -> object:
    return load_core().Pool(**window._asdict())


def empty(like: Tensor, channels: int, size: Sequence[int], n: int | None) -> Tensor:
    """Allocate a result in the layout of an operand."""
    if n is not None:
        return like.new_empty((like.shape[0], channels, *size, like.shape[4]))
    shape = (like.shape[0], channels, *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format(like))


def _readable(tensor: Tensor, n: int | None) -> Tensor:
    """Return what the core can read: any strides, or blocks that are contiguous and aligned."""
    if n is None:
        return tensor
    tensor = tensor.contiguous()
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _operand(tensor: Tensor, n: int | None) -> object:
    if n is None:
        return load_core().Operand(tensor.data_ptr(), strides=tensor.stride())
    if cuda.is_on(tensor):
        cuda.check_lanes(tensor.shape[4])
    return load_core().Operand(tensor.data_ptr(), lanes=tensor.shape[4])
