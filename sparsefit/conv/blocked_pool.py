"""Poolings of a batch in blocks of lanes: the core's on a CPU, torch's where the core has none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sparsefit.conv import blocked_op, cuda
from sparsefit.conv.blocked import Blocked, add_bias, describe, form_of, has_kernels, outside, relu
from sparsefit.conv.kernels import Window
from sparsefit.conv.mask import shape_text
from sparsefit.errors import InputError


# Eager code calls the first, which functional.max_pool2d calls itself; dynamo the second.
@form_of(torch.max_pool2d, functional.max_pool2d)
def max_pool2d(
    x: Blocked,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Blocked:
    """Return the maxima of windows, as ``torch.nn.functional.max_pool2d``.

    Parameters
    ----------
    x : Blocked
        (N, C, H, W).
    kernel_size, stride, padding, dilation : int or pair of int
        Without a stride it is the size of the kernel.
    ceil_mode : bool
        Whether a window may reach past the end.
    return_indices : bool
        Only False.

    Raises
    ------
    InputError
        Indices are asked for; a flattened batch; a size that is neither an int nor two.
    """
    if return_indices:
        raise InputError("max_pool2d of a blocked batch returns no indices: call it on from_blocked(x)")
    kernel, edge, spread = _pair(kernel_size), _pair(padding), _pair(dilation)
    step = kernel if stride is None or stride == [] else _pair(stride)
    window = _window(x, kernel, step, edge, ceil_mode)
    if _has_pooling(x.data) and _is_small(window) and spread == (1, 1):
        return Blocked(blocked_op.max_pool(x.data, x.n, window)[0], x.n)
    # A 3-D pooling whose third axis is the lanes.
    pooled = functional.max_pool3d(x.data, (*kernel, 1), (*step, 1), (*edge, 0), (*spread, 1), ceil_mode)
    return Blocked(pooled, x.n)


def bias_relu_max_pool2d(
    x: Blocked,
    bias: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
) -> Blocked:
    """Return ``max_pool2d(relu(add_bias(x, bias)))`` in one pass over the batch.

    Parameters
    ----------
    x : Blocked
        (N, C, H, W), for example of a convolution without its bias.
    bias : Tensor
        (C,), of the dtype of the batch.
    kernel_size, stride, padding : int or pair of int
        As in ``torch.nn.functional.max_pool2d``.
    """
    if bias.shape != x.shape[1:2] or bias.dtype != x.data.dtype:
        raise InputError(
            f"a bias for {describe(x)} must be {x.data.dtype} of shape ({x.shape[1]},), "
            f"got {bias.dtype} of shape {shape_text(bias.shape)}"
        )
    kernel, edge = _pair(kernel_size), _pair(padding)
    step = kernel if stride is None or stride == [] else _pair(stride)
    window = _window(x, kernel, step, edge, False)
    if _has_pooling(x.data) and _is_small(window):
        return Blocked(blocked_op.bias_relu_max_pool(x.data, bias, x.n, window)[0], x.n)
    return max_pool2d(relu(add_bias(x, bias)), kernel_size, stride, padding)


@form_of(functional.avg_pool2d)
def avg_pool2d(
    x: Blocked,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Blocked:
    """Return the means of windows, as ``torch.nn.functional.avg_pool2d``.

    Parameters
    ----------
    x : Blocked
        (N, C, H, W).
    kernel_size, stride, padding : int or pair of int
        Without a stride it is the size of the kernel.
    ceil_mode : bool
        Whether a window may reach past the end.
    count_include_pad : bool
        Whether the zeros of the padding count as pixels.
    divisor_override : int, optional
        Divides the sums in the place of the number of pixels.

    Raises
    ------
    InputError
        A flattened batch; a size that is neither an int nor two.
    """
    kernel, edge = _pair(kernel_size), _pair(padding)
    step = kernel if stride is None or stride == [] else _pair(stride)
    window = _window(x, kernel, step, edge, ceil_mode)
    is_plain_mean = (count_include_pad or edge == (0, 0)) and divisor_override is None and not ceil_mode
    if _has_pooling(x.data) and _is_small(window) and is_plain_mean:
        return Blocked(blocked_op.average_pool(x.data, x.n, window), x.n)
    height, width = x.shape[2:]
    if kernel[0] > height or kernel[1] > width:  # with its padding the image may be large enough
        mean = functional.avg_pool2d
        return outside(mean)(x, kernel, step, edge, ceil_mode, count_include_pad, divisor_override)
    pooled = functional.avg_pool3d(
        x.data, (*kernel, 1), (*step, 1), (*edge, 0), ceil_mode, count_include_pad, divisor_override
    )
    return Blocked(pooled, x.n)


def global_average_pool(x: Blocked) -> Blocked:
    """Return the mean over all pixels as (N, C, 1, 1)."""
    return Blocked(x.spatial().mean((2, 3), keepdim=True), x.n)


@form_of(functional.adaptive_avg_pool2d)
def _adaptive_avg_pool2d(x: Blocked, output_size: int | Sequence[int | None]) -> Blocked:
    if output_size not in (1, (1, 1), [1, 1]):
        raise InputError(
            f"adaptive_avg_pool2d of a blocked batch goes to 1×1, got {output_size}: use avg_pool2d"
        )
    return global_average_pool(x)


def _has_pooling(tensor: Tensor) -> bool:
    """Whether the core pools such a tensor: on a GPU torch's own pooling serves."""
    return has_kernels(tensor) and not cuda.is_on(tensor)


def _window(
    x: Blocked, kernel: tuple[int, int], step: tuple[int, int], edge: tuple[int, int], ceil_mode: bool
) -> Window:
    height, width = x.spatial().shape[2:4]

    def output_size(size: int, axis: int) -> int:
        stride = max(step[axis], 1)
        over = stride - 1 if ceil_mode else 0
        count = (size + 2 * edge[axis] - kernel[axis] + over) // stride + 1
        # A window that begins past the image and its padding in front is left out.
        return count - 1 if ceil_mode and (count - 1) * stride >= size + edge[axis] else count

    return Window(*kernel, *step, *edge, output_size(height, 0), output_size(width, 1))


def _is_small(window: Window) -> bool:
    """Whether the core can take a window; torch takes larger ones, and has the words for wrong ones."""
    return (
        window.kernel_h * window.kernel_w <= 256
        and 2 * window.pad_top <= window.kernel_h
        and 2 * window.pad_left <= window.kernel_w
        and min(window[:4]) > 0
        and min(window[4:6]) >= 0
        and min(window[6:]) > 0
    )


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if isinstance(size, Sequence) and len(size) in (1, 2) and all(isinstance(each, int) for each in size):
        return size[0], size[-1]
    raise InputError(f"kernel size, stride, padding and dilation are an int or two, got {size!r}")
