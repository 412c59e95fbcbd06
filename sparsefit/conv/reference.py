"""The slow twin: torch's own convolution with a dense weight, zeros where the mask is.

It runs every dtype and device that torch runs, it is what ``backend="dense"`` uses, what torch.func.vmap
uses, and the tests hold the kernels against it. Operands are strided: (N, C, H, W), or of a linear layer
(N, C), and then its weight is (C_out, C_in).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sparsefit.conv.geometry import Geometry

_convolution_backward = torch.ops.aten.convolution_backward.default


def forward(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Return the output (N, C_out, H_out, W_out) for an input (N, C_in, H, W) of any strides."""
    if input.dim() == 2:
        return functional.linear(input, weight, bias)
    if _is_linear(geometry, input.shape[2:]):
        return functional.linear(input.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    return torch.convolution(_pad(input, geometry), weight, bias, *_arguments(geometry))


def backward_input(
    grad_output: Tensor,
    weight: Tensor,
    geometry: Geometry,
    size: Sequence[int],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Return the gradient to an input of the given (H, W) and memory format."""
    if grad_output.dim() == 2:
        return grad_output.mm(weight)
    if _is_linear(geometry, size):
        return grad_output.flatten(1).mm(weight.flatten(1))[:, :, None, None]
    uneven = _is_uneven(geometry)
    height, width = size
    if uneven:
        height += geometry.pad_top + geometry.pad_bottom
        width += geometry.pad_left + geometry.pad_right
    # Only shape and memory format of the input matter here: its memory is never touched.
    form = torch.empty(
        (grad_output.shape[0], geometry.c_in, height, width),
        dtype=grad_output.dtype,
        device=grad_output.device,
        memory_format=memory_format,
    )
    grad_input = _convolution_backward(
        grad_output, form, weight, None, *_arguments(geometry), (True, False, False)
    )[0]
    if uneven:
        grad_input = grad_input.narrow(2, geometry.pad_top, size[0]).narrow(3, geometry.pad_left, size[1])
    return grad_input


def backward_weight(
    input: Tensor, grad_output: Tensor, geometry: Geometry, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradient to the dense weight, of any shape, and that to the bias if there is one."""
    if input.dim() == 2:
        return grad_output.t().mm(input), grad_output.sum(0) if with_bias else None
    if _is_linear(geometry, input.shape[2:]):
        return backward_weight(input.flatten(1), grad_output.flatten(1), geometry, with_bias)
    input = _pad(input, geometry)
    form = input.new_empty(geometry.weight_shape)
    _, grad_weight, grad_bias = _convolution_backward(
        grad_output,
        input,
        form,
        [geometry.c_out] if with_bias else None,
        *_arguments(geometry),
        (False, True, with_bias),
    )
    return grad_weight, grad_bias


def _is_linear(geometry: Geometry, size: Sequence[int]) -> bool:
    """Whether the convolution is a plain matrix product, for which torch has a faster way."""
    return geometry[2:] == (1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1) and tuple(size) == (1, 1)


def _is_uneven(geometry: Geometry) -> bool:
    return geometry.pad_top != geometry.pad_bottom or geometry.pad_left != geometry.pad_right


def _pad(input: Tensor, geometry: Geometry) -> Tensor:
    """Return the input with the padding that torch's convolution cannot do: it knows even padding only."""
    if not _is_uneven(geometry):
        return input
    edges = (geometry.pad_left, geometry.pad_right, geometry.pad_top, geometry.pad_bottom)
    return functional.pad(input, edges)


@functools.lru_cache(maxsize=1024)
def _arguments(geometry: Geometry) -> tuple:
    """Return what follows input, weight and bias; where the padding is uneven, `_pad` has done it."""
    stride = (geometry.stride_h, geometry.stride_w)
    padding = (0, 0) if _is_uneven(geometry) else (geometry.pad_top, geometry.pad_left)
    dilation = (geometry.dilation_h, geometry.dilation_w)
    return stride, padding, dilation, False, (0, 0), geometry.groups
