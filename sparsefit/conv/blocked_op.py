"""The operators on blocked data that torch has not: in and out of the blocks, and pooling.

``n`` is the number of samples, ``window`` a ``kernels.Window``. Everything here is float32 on a device that
has kernels; ``blocked`` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparsefit.conv import kernels
from sparsefit.conv.kernels import Window, empty
from sparsefit.conv.layout import zero_past
from sparsefit.conv.registration import make_operator


def _to_blocks(x: Tensor, lanes: int) -> Tensor:
    return kernels.to_blocks(x, lanes)


def _fake_to_blocks(x, lanes):  # type: ignore[no-untyped-def]
    return x.new_empty((-(-x.shape[0] // lanes), *x.shape[1:], lanes))


def _save_to_blocks(ctx: Any, inputs: tuple, output: Any) -> None:
    ctx.n = inputs[0].shape[0]


def _derive_to_blocks(ctx: Any, grad: Tensor) -> tuple:
    return from_blocks(grad, ctx.n), None


def _from_blocks(data: Tensor, n: int) -> Tensor:
    return kernels.from_blocks(data, n)


def _fake_from_blocks(data, n):  # type: ignore[no-untyped-def]
    return data.new_empty((n, *data.shape[1:4]))


def _save_from_blocks(ctx: Any, inputs: tuple, output: Any) -> None:
    ctx.lanes = inputs[0].shape[4]


def _derive_from_blocks(ctx: Any, grad: Tensor) -> tuple:
    return to_blocks(grad, ctx.lanes), None


to_blocks = make_operator("to_blocks", _to_blocks, _fake_to_blocks, _save_to_blocks, _derive_to_blocks)
from_blocks = make_operator(
    "from_blocks", _from_blocks, _fake_from_blocks, _save_from_blocks, _derive_from_blocks
)


def _max_pool(data: Tensor, n: int, window: Sequence[int]) -> tuple[Tensor, Tensor]:
    return kernels.max_pool(data, n, Window(*window))


def _fake_max_pool(data, n, window):  # type: ignore[no-untyped-def]
    output = _fake_pool(data, n, window)
    return output, torch.empty_like(output, dtype=torch.uint8)


def _save_max_pool(ctx: Any, inputs: tuple, output: Any) -> None:
    data, ctx.n, ctx.window = inputs
    ctx.size = data.shape[2:4]
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _derive_max_pool(ctx: Any, grad: Tensor, _: Any) -> tuple:
    (places,) = ctx.saved_tensors
    return max_pool_backward(grad, places, ctx.n, ctx.window, ctx.size), None, None


def _max_pool_backward(
    grad_output: Tensor, places: Tensor, n: int, window: Sequence[int], size: Sequence[int]
) -> Tensor:
    return kernels.max_pool_backward(grad_output, places, n, Window(*window), size)


def _fake_max_pool_backward(grad_output, places, n, window, size):  # type: ignore[no-untyped-def]
    return empty(grad_output, grad_output.shape[1], size, n)


def _save_max_pool_backward(ctx: Any, inputs: tuple, output: Any) -> None:
    _, places, _, ctx.window, _ = inputs
    ctx.save_for_backward(places)


def _derive_max_pool_backward(ctx: Any, grad: Tensor) -> tuple:
    (places,) = ctx.saved_tensors
    return _pick(grad, places, Window(*ctx.window)), None, None, None, None


def _pick(data: Tensor, places: Tensor, window: Window) -> Tensor:
    """Return the data at the places of the maxima."""
    row = torch.arange(window.h_out)[:, None, None] * window.stride_h - window.pad_top
    column = torch.arange(window.w_out)[:, None] * window.stride_w - window.pad_left
    pixels = (row + places // window.kernel_w) * data.shape[3] + column + places % window.kernel_w
    return data.flatten(2, 3).gather(2, pixels.flatten(2, 3)).view(places.shape)


max_pool = make_operator("max_pool", _max_pool, _fake_max_pool, _save_max_pool, _derive_max_pool)
max_pool_backward = make_operator(
    "max_pool_backward",
    _max_pool_backward,
    _fake_max_pool_backward,
    _save_max_pool_backward,
    _derive_max_pool_backward,
)


def _bias_relu_max_pool(data: Tensor, bias: Tensor, n: int, window: Sequence[int]) -> tuple[Tensor, Tensor]:
    return kernels.bias_relu_max_pool(data, bias, n, Window(*window))


def _fake_bias_relu_max_pool(data, bias, n, window):  # type: ignore[no-untyped-def]
    return _fake_max_pool(data, n, window)


def _save_bias_relu_max_pool(ctx: Any, inputs: tuple, output: Any) -> None:
    data, _, ctx.n, ctx.window = inputs
    ctx.size = data.shape[2:4]
    ctx.save_for_backward(*output)
    ctx.mark_non_differentiable(output[1])


def _derive_bias_relu_max_pool(ctx: Any, grad: Tensor, _: Any) -> tuple:
    output, places = ctx.saved_tensors
    grads = bias_relu_max_pool_backward(output, grad, places, ctx.n, ctx.window, ctx.size)
    return *grads, None, None


def _bias_relu_max_pool_backward(
    output: Tensor, grad_output: Tensor, places: Tensor, n: int, window: Sequence[int], size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    return kernels.bias_relu_max_pool_backward(output, grad_output, places, n, Window(*window), size)


def _fake_bias_relu_max_pool_backward(output, grad_output, places, n, window, size):  # type: ignore[no-untyped-def]
    channels = grad_output.shape[1]
    return empty(grad_output, channels, size, n), grad_output.new_empty(channels)


def _save_bias_relu_max_pool_backward(ctx: Any, inputs: tuple, output: Any) -> None:
    result, _, places, ctx.n, ctx.window, _ = inputs
    ctx.save_for_backward(result, places)


def _derive_bias_relu_max_pool_backward(ctx: Any, grad: Tensor, grad_bias: Tensor) -> tuple:
    """Pick both gradients where ReLU let the maximum through; its slope does not depend on the maximum."""
    output, places = ctx.saved_tensors
    picked = _pick(grad, places, Window(*ctx.window)) + grad_bias.view(-1, 1, 1, 1)
    return None, zero_past(picked * (output > 0), ctx.n), *(None,) * 4


bias_relu_max_pool = make_operator(
    "bias_relu_max_pool",
    _bias_relu_max_pool,
    _fake_bias_relu_max_pool,
    _save_bias_relu_max_pool,
    _derive_bias_relu_max_pool,
)
bias_relu_max_pool_backward = make_operator(
    "bias_relu_max_pool_backward",
    _bias_relu_max_pool_backward,
    _fake_bias_relu_max_pool_backward,
    _save_bias_relu_max_pool_backward,
    _derive_bias_relu_max_pool_backward,
)


def _average_pool(data: Tensor, n: int, window: Sequence[int]) -> Tensor:
    return kernels.average_pool(data, n, Window(*window))


def _fake_pool(data, n, window):  # type: ignore[no-untyped-def]
    return empty(data, data.shape[1], Window(*window)[-2:], n)


def _save_average_pool(ctx: Any, inputs: tuple, output: Any) -> None:
    data, ctx.n, ctx.window = inputs
    ctx.size = data.shape[2:4]


def _derive_average_pool(ctx: Any, grad: Tensor) -> tuple:
    return average_pool_backward(grad, ctx.n, ctx.window, ctx.size), None, None


def _average_pool_backward(grad_output: Tensor, n: int, window: Sequence[int], size: Sequence[int]) -> Tensor:
    return kernels.average_pool_backward(grad_output, n, Window(*window), size)


def _fake_average_pool_backward(grad_output, n, window, size):  # type: ignore[no-untyped-def]
    return empty(grad_output, grad_output.shape[1], size, n)


def _save_average_pool_backward(ctx: Any, inputs: tuple, output: Any) -> None:
    _, ctx.n, ctx.window, _ = inputs


def _derive_average_pool_backward(ctx: Any, grad: Tensor) -> tuple:
    return average_pool(grad, ctx.n, ctx.window), None, None, None


average_pool = make_operator(
    "average_pool", _average_pool, _fake_pool, _save_average_pool, _derive_average_pool
)
average_pool_backward = make_operator(
    "average_pool_backward",
    _average_pool_backward,
    _fake_average_pool_backward,
    _save_average_pool_backward,
    _derive_average_pool_backward,
)
