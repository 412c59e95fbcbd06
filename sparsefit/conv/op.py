"""The three passes of a sparse convolution as differentiable operators.

Each is linear in its operands, and the derivatives of each are again among the three, so gradients of any
order are right:

    conv2d           y  = x ∗ v + b       ∂x → backward_input(g, v)    ∂v, ∂b → backward_weight(x, g)
    backward_input   dx = g ∗ᵀ v          ∂g → conv2d(·, v)            ∂v → backward_weight(·, g)
    backward_weight  dv, db = ⟨x, g⟩, Σg  ∂x → backward_input(g, ·)    ∂g → conv2d(x, ·)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sparsefit.conv import passes, reference
from sparsefit.conv.backend import empty
from sparsefit.conv.geometry import Geometry
from sparsefit.conv.layout import from_blocks, to_blocks, zero_past
from sparsefit.conv.passes import spatial_size
from sparsefit.conv.registration import functorch_is_active, make_operator

# What a compiler knows of the results.


def _fake_forward(input, values, bias, positions, pattern, geometry, n, backend):  # type: ignore[no-untyped-def]
    shape = Geometry(*geometry)
    return empty(input, shape.c_out, shape.output_size(*spatial_size(input)), n)


def _fake_backward_input(grad_output, values, positions, pattern, geometry, size, n, backend):  # type: ignore[no-untyped-def]
    return empty(grad_output, Geometry(*geometry).c_in, size, n)


def _fake_backward_weight(input, grad_output, positions, pattern, geometry, with_bias, n, backend):  # type: ignore[no-untyped-def]
    bias_shape = Geometry(*geometry).c_out if with_bias else 0
    return input.new_empty(positions.shape[0]), input.new_empty(bias_shape)


# Derivatives. Lanes past n of an incoming gradient are not part of the result, whatever is in them.


def _save_forward(ctx: Any, inputs: tuple, output: Any) -> None:
    input, values, bias, positions, pattern, ctx.geometry, ctx.n, ctx.backend = inputs
    ctx.with_bias = bias is not None
    ctx.size = spatial_size(input)
    ctx.save_for_backward(input, values, positions, pattern)


def _derive_forward(ctx: Any, grad: Tensor) -> tuple:
    input, values, positions, pattern = ctx.saved_tensors
    wants_input, wants_values, wants_bias = ctx.needs_input_grad[:3]
    common, last = (positions, pattern, ctx.geometry), (ctx.n, ctx.backend)
    grad = _without_idle_lanes(grad, ctx.n)
    grad_input = grad_values = grad_bias = None
    if wants_input:
        grad_input = backward_input(grad, values, *common, ctx.size, *last)
    if wants_values or wants_bias:
        grad_values, grad_bias = backward_weight(input, grad, *common, ctx.with_bias, *last)
    return grad_input, grad_values, grad_bias if ctx.with_bias else None, *(None,) * 5


def _save_backward_input(ctx: Any, inputs: tuple, output: Any) -> None:
    grad_output, values, positions, pattern, ctx.geometry, _, ctx.n, ctx.backend = inputs
    ctx.save_for_backward(grad_output, values, positions, pattern)


def _derive_backward_input(ctx: Any, grad: Tensor) -> tuple:
    grad_output, values, positions, pattern = ctx.saved_tensors
    common, last = (positions, pattern, ctx.geometry), (ctx.n, ctx.backend)
    grad = _without_idle_lanes(grad, ctx.n)
    grad_grad = grad_values = None
    if ctx.needs_input_grad[0]:
        grad_grad = conv2d(grad, values, None, *common, *last)
    if ctx.needs_input_grad[1]:
        grad_values, _ = backward_weight(grad, grad_output, *common, False, *last)
    return grad_grad, grad_values, *(None,) * 6


def _save_backward_weight(ctx: Any, inputs: tuple, output: Any) -> None:
    input, grad_output, positions, pattern, ctx.geometry, ctx.with_bias, ctx.n, ctx.backend = inputs
    ctx.size = spatial_size(input)
    ctx.save_for_backward(input, grad_output, positions, pattern)


def _derive_backward_weight(ctx: Any, grad_values: Tensor, grad_bias: Tensor) -> tuple:
    input, grad_output, positions, pattern = ctx.saved_tensors
    common, last = (positions, pattern, ctx.geometry), (ctx.n, ctx.backend)
    grad_input = grad_grad = None
    if ctx.needs_input_grad[0]:
        grad_input = backward_input(grad_output, grad_values, *common, ctx.size, *last)
    if ctx.needs_input_grad[1]:
        grad_grad = conv2d(input, grad_values, grad_bias if ctx.with_bias else None, *common, *last)
    return grad_input, grad_grad, *(None,) * 6


def _without_idle_lanes(grad: Tensor, n: int | None) -> Tensor:
    return grad if n is None else zero_past(grad, n)


_conv2d = make_operator("conv2d", passes.forward, _fake_forward, _save_forward, _derive_forward)
backward_input = make_operator(
    "conv2d_backward_input",
    passes.backward_input,
    _fake_backward_input,
    _save_backward_input,
    _derive_backward_input,
)
backward_weight = make_operator(
    "conv2d_backward_weight",
    passes.backward_weight,
    _fake_backward_weight,
    _save_backward_weight,
    _derive_backward_weight,
)


def conv2d(
    input: Tensor,
    values: Tensor,
    bias: Tensor | None,
    positions: Tensor,
    pattern: Tensor,
    geometry: Sequence[int],
    n: int | None,
    backend: str,
) -> Tensor:
    """Return the convolution of the input with the kept values, plus the bias, in the layout of the input.

    Under the transforms of ``torch.func`` it is the reference: there each sample may have weights or
    gradients of its own, for which torch has rules for dense convolution.
    """
    if functorch_is_active():
        x = input if n is None else from_blocks(input, n)
        output = reference.forward(x, values, bias, positions, Geometry(*geometry))
        return output if n is None else to_blocks(output, input.shape[4])
    return _conv2d(input, values, bias, positions, pattern, geometry, n, backend)
