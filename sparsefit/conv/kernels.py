"""The door to the compiled core: tensors in, addresses and strides out, outputs allocated here.

One function a pass. A tensor is strided, (N, C, H, W) or (N, C) with any strides, when ``n`` is None; else it
is blocked, (ceil(n / lanes), C, H, W, lanes). Checks were made by the caller. For the passes and for the way
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
from sparsefit.conv.call import Call, Problem
from sparsefit.conv.layout import memory_format
from sparsefit.errors import InputError, MissingCoreError

ALIGNMENT = 64
"""Bytes; what the core asks of blocked tensors."""


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
    InputError
        SPARSEFIT_FORCE_ISA names no instruction set that is usable here.
    """
    try:
        from sparsefit import _core
    except ImportError as error:
        raise MissingCoreError(
            f"the compiled core sparsefit._core cannot be loaded ({error}): with a C++17 compiler, run "
            "'pip install .' in the source tree, or 'python setup.py build_ext --inplace' for an editable "
            "install"
        ) from error
    try:
        _core.isa()
    except ValueError as error:  # what SPARSEFIT_FORCE_ISA names is not there
        raise InputError(str(error)) from error
    return _core


def handles(tensor: Tensor) -> bool:
    """Whether the core has kernels for tensors like this one; the reference serves all others."""
    if tensor.dtype != torch.float32:
        return False
    return not cuda.missing(load_core(), tensor.get_device()) if cuda.is_on(tensor) else tensor.is_cpu


def forward(call: Call, input: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Return the output of the convolution, in the layout of the input."""
    sized, n = call.sized, call.n
    output = empty(input, sized.geometry.c_out, sized.output_size, n)
    values = _written_out(values).contiguous()
    bias = None if bias is None else _written_out(bias).contiguous()
    x = _readable(input, n)
    x_operand, y_operand = _operand(x, n), _operand(output, n)
    core, bias_pointer = load_core(), 0 if bias is None else bias.data_ptr()
    if cuda.is_on(input):
        where, _scratch = cuda.where(
            core, input, core.cuda_forward_scratch(_conv(sized), x_operand, y_operand)
        )
        core.cuda_forward(
            _conv(sized),
            x_operand,
            values.data_ptr(),
            bias_pointer,
            call.pattern.data_ptr(),
            values.shape[0],
            y_operand,
            where,
        )
        return output
    core.forward(
        _conv(sized),
        x_operand,
        values.data_ptr(),
        bias_pointer,
        call.pattern.data_ptr(),
        y_operand,
        torch.get_num_threads(),
    )
    return output


def backward_input(call: Call, grad_output: Tensor, values: Tensor) -> Tensor:
    """Return the gradient to the input, in the layout of the gradient to the output."""
    sized, n = call.sized, call.n
    grad_input = empty(grad_output, sized.geometry.c_in, sized.size, n)
    values = _written_out(values).contiguous()
    g = _readable(grad_output, n)
    g_operand, x_operand = _operand(g, n), _operand(grad_input, n)
    core, pattern = load_core(), call.pattern.data_ptr()
    if cuda.is_on(g):
        floats = core.cuda_backward_input_scratch(_conv(sized), g_operand, x_operand)
        where, _scratch = cuda.where(core, g, floats)
        core.cuda_backward_input(
            _conv(sized), g_operand, values.data_ptr(), pattern, values.shape[0], x_operand, where
        )
        return grad_input
    core.backward_input(
        _conv(sized), g_operand, values.data_ptr(), pattern, x_operand, torch.get_num_threads()
    )
    return grad_input


def backward_weight(
    call: Call, input: Tensor, grad_output: Tensor, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients to the kept values (nnz,) and to the bias (C_out,), or None without a bias."""
    sized, n, nnz = call.sized, call.n, call.positions.shape[0]
    grad_values = input.new_empty(nnz)
    grad_bias = input.new_empty(sized.geometry.c_out) if with_bias else None
    x, g = _readable(input, n), _readable(grad_output, n)
    operands = (_operand(x, n), _operand(g, n))
    core, pattern = load_core(), call.pattern.data_ptr()
    results = (grad_values.data_ptr(), 0 if grad_bias is None else grad_bias.data_ptr())
    if cuda.is_on(x):
        floats = core.cuda_backward_weight_scratch(_conv(sized), *operands, nnz, with_bias)
        where, _scratch = cuda.where(core, x, floats)
        core.cuda_backward_weight(_conv(sized), *operands, pattern, nnz, *results, where)
    else:
        core.backward_weight(_conv(sized), *operands, pattern, *results, torch.get_num_threads())
    return grad_values, grad_bias


def to_blocks(x: Tensor, lanes: int) -> Tensor:
    """Return the blocks (ceil(N / lanes), C, H, W, lanes) of a strided (N, C, H, W)."""
    x = _readable(x, None)
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
    data, bias = _readable(data, n), _written_out(bias).contiguous()
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


@functools.lru_cache(maxsize=4096)
def _conv(sized: Problem) -> object:
    g = sized.geometry
    return load_core().Conv(
        n=sized.samples,
        c_in=g.c_in,
        h_in=sized.size[0],
        w_in=sized.size[1],
        c_out=g.c_out,
        h_out=sized.output_size[0],
        w_out=sized.output_size[1],
        kh=g.kh,
        kw=g.kw,
        stride_h=g.stride_h,
        stride_w=g.stride_w,
        pad_top=g.pad_top,
        pad_left=g.pad_left,
        dilation_h=g.dilation_h,
        dilation_w=g.dilation_w,
        groups=g.groups,
    )


@functools.lru_cache(maxsize=4096)
def _blocked(n: int, channels: int, height: int, width: int, lanes: int) -> object:
    return load_core().Blocked(n=n, channels=channels, height=height, width=width, lanes=lanes)


@functools.lru_cache(maxsize=4096)
def _pool(window: Window) -> object:
    return load_core().Pool(**window._asdict())


def empty(like: Tensor, channels: int, size: Sequence[int], n: int | None) -> Tensor:
    """Allocate a result in the layout of an operand; (N, C) has one pixel."""
    if n is not None:
        return like.new_empty((like.shape[0], channels, *size, like.shape[4]))
    if like.dim() == 2:
        return like.new_empty((like.shape[0], channels))
    shape = (like.shape[0], channels, *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format(like))


def _readable(tensor: Tensor, n: int | None) -> Tensor:
    """Return what the core can read: any strides, or blocks that are contiguous and aligned."""
    tensor = _written_out(tensor)
    if n is None:
        return tensor
    tensor = tensor.contiguous()
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _written_out(tensor: Tensor) -> Tensor:
    """Return a tensor whose memory holds its numbers: not their negatives, as torch has it, or nothing."""
    if tensor.is_neg():
        return tensor.resolve_neg()
    return tensor.clone() if tensor._is_zerotensor() else tensor


def _operand(tensor: Tensor, n: int | None) -> object:
    if n is None:
        strides = tensor.stride()
        return load_core().Operand(
            tensor.data_ptr(), strides=strides if len(strides) == 4 else (*strides, 1, 1)
        )
    if cuda.is_on(tensor):
        cuda.check_lanes(tensor.shape[4])
    return load_core().Operand(tensor.data_ptr(), lanes=tensor.shape[4])
