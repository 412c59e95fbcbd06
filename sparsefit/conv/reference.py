"""The slow twin: scatter the values to a dense weight, let torch convolve, gather the gradient.

It runs every dtype and device that torch runs, it is what ``backend="dense"`` uses, what torch.func.vmap
uses, and the tests hold the kernels against it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sparsefit.conv.geometry import Geometry
from sparsefit.conv.packed import gather, scatter

_convolution = torch.ops.aten.convolution.default
_convolution_backward = torch.ops.aten.convolution_backward.default


def forward(
    input: Tensor, values: Tensor, bias: Tensor | None, positions: Tensor, geometry: Geometry
) -> Tensor:
    """Return the output (N, C_out, H_out, W_out) for an input (N, C_in, H, W) of any strides."""
    weight = scatter(values, positions, geometry.weight_shape)
    if _is_linear(geometry, input.shape[2:]):
        return functional.linear(input.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    input, padding = _pad(input, geometry)
    return _convolution(input, weight, bias, *_arguments(geometry, padding))


def backward_input(
    grad_output: Tensor,
    values: Tensor,
    positions: Tensor,
    geometry: Geometry,
    size: Sequence[int],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Return the gradient to an input of the given (H, W) and memory format."""
    weight = scatter(values, positions, geometry.weight_shape)
    n = grad_output.shape[0]
    if _is_linear(geometry, size):
        return (grad_output.flatten(1) @ weight.flatten(1))[:, :, None, None]
    uneven = _is_uneven(geometry)
    height, width = size
    if uneven:
        height += geometry.pad_top + geometry.pad_bottom
        width += geometry.pad_left + geometry.pad_right
    # Only shape and memory format of the input matter here: its memory is never touched.
    form = torch.empty(
        (n, geometry.c_in, height, width),
        dtype=grad_output.dtype,
        device=grad_output.device,
        memory_format=memory_format,
    )
    padding = (0, 0) if uneven else (geometry.pad_top, geometry.pad_left)
    grad_input = _convolution_backward(
        grad_output, form, weight, None, *_arguments(geometry, padding), (True, False, False)
    )[0]
    if uneven:
        grad_input = grad_input.narrow(2, geometry.pad_top, size[0]).narrow(3, geometry.pad_left, size[1])
    return grad_input


def backward_weight(input: Tensor, grad_output: Tensor, positions: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient to the kept values (nnz,)."""
    if _is_linear(geometry, input.shape[2:]):
        return gather(grad_output.flatten(1).t() @ input.flatten(1), positions)
    input, padding = _pad(input, geometry)
    form = input.new_empty(geometry.weight_shape)
    grad_weight = _convolution_backward(
        grad_output, input, form, None, *_arguments(geometry, padding), (False, True, False)
    )[1]
    return gather(grad_weight, positions)


def _is_linear(geometry: Geometry, size: Sequence[int]) -> bool:
    """Whether the convolution is a plain matrix product, for which torch has a faster way."""
    return geometry[2:] == (1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1) and tuple(size) == (1, 1)


def _is_uneven(geometry: Geometry) -> bool:
    return geometry.pad_top != geometry.pad_bottom or geometry.pad_left != geometry.pad_right


def _pad(input: Tensor, geometry: Geometry) -> tuple[Tensor, tuple[int, int]]:
    """Return the input and the even padding left to do; torch's convolution knows no uneven padding."""
    if not _is_uneven(geometry):
        return input, (geometry.pad_top, geometry.pad_left)
    edges = (geometry.pad_left, geometry.pad_right, geometry.pad_top, geometry.pad_bottom)
    return functional.pad(input, edges), (0, 0)


def _arguments(geometry: Geometry, padding: tuple[int, int]) -> tuple:
    stride = (geometry.stride_h, geometry.stride_w)
    dilation = (geometry.dilation_h, geometry.dilation_w)
    return stride, padding, dilation, False, (0, 0), geometry.groups
