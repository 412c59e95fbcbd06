"""The three passes of a sparse convolution as differentiable operators.

Each is linear in its operands, and the derivatives of each are again among the three, so gradients of any
order are right:

    conv2d           y  = x ∗ v + b       ∂x → backward_input(g, v)    ∂v, ∂b → backward_weight(x, g)
    backward_input   dx = g ∗ᵀ v          ∂g → conv2d(·, v)            ∂v → backward_weight(·, g)
    backward_weight  dv, db = ⟨x, g⟩, Σg  ∂x → backward_input(g, ·)    ∂g → conv2d(x, ·)

In Python a call is one argument (`Call`); an operator of ``torch.library`` takes its parts. ``registration``
says when which of the two forms is at work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sparsefit.conv import passes, reference
from sparsefit.conv.call import Call, spatial_size
from sparsefit.conv.kernels import empty
from sparsefit.conv.layout import from_blocks, to_blocks, zero_past
from sparsefit.conv.packed import gather, scatter
from sparsefit.conv.registration import has_no_rules, make_operator

# The work. Past the tensors, what comes is a `Call`.


def _forward(input: Tensor, values: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    return passes.forward(call, input, values, bias)


def _backward_input(grad_output: Tensor, values: Tensor, input_shape: Sequence[int], call: Call) -> Tensor:
    return passes.backward_input(call, grad_output, values, input_shape)


def _backward_weight(
    input: Tensor, grad_output: Tensor, with_bias: bool, call: Call
) -> tuple[Tensor, Tensor]:
    grad_values, grad_bias = passes.backward_weight(call, input, grad_output, with_bias)
    return grad_values, input.new_empty(0) if grad_bias is None else grad_bias


# What a compiler knows of the results.


def _fake_forward(input: Tensor, values: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    size = call.geometry.output_size(*spatial_size(input.shape))
    return empty(input, call.geometry.c_out, size, call.n)


def _fake_backward_input(
    grad_output: Tensor, values: Tensor, input_shape: Sequence[int], call: Call
) -> Tensor:
    return empty(grad_output, call.geometry.c_in, spatial_size(input_shape), call.n)


def _fake_backward_weight(
    input: Tensor, grad_output: Tensor, with_bias: bool, call: Call
) -> tuple[Tensor, Tensor]:
    bias_shape = call.geometry.c_out if with_bias else 0
    return input.new_empty(call.positions.shape[0]), input.new_empty(bias_shape)


# Derivatives. Lanes past n of an incoming gradient are not part of the result, whatever is in them.


def _save_forward(ctx: Any, inputs: tuple, output: Any) -> None:
    input, values, bias, ctx.call = inputs
    ctx.with_bias = bias is not None
    ctx.save_for_backward(input, values)


def _derive_forward(ctx: Any, grad: Tensor) -> tuple:
    input, values = ctx.saved_tensors
    call, (wants_input, wants_values, wants_bias) = ctx.call, ctx.needs_input_grad[:3]
    grad = _without_idle_lanes(grad, call)
    grad_input = grad_values = grad_bias = None
    if wants_input:
        grad_input = backward_input(grad, values, input.shape, call)
    if wants_values or wants_bias:
        grad_values, grad_bias = backward_weight(input, grad, ctx.with_bias, call)
    return grad_input, grad_values, grad_bias if ctx.with_bias else None, None


def _save_backward_input(ctx: Any, inputs: tuple, output: Any) -> None:
    grad_output, values, _, ctx.call = inputs
    ctx.save_for_backward(grad_output, values)


def _derive_backward_input(ctx: Any, grad: Tensor) -> tuple:
    grad_output, values = ctx.saved_tensors
    grad = _without_idle_lanes(grad, ctx.call)
    grad_grad = grad_values = None
    if ctx.needs_input_grad[0]:
        grad_grad = conv2d(grad, values, None, ctx.call)
    if ctx.needs_input_grad[1]:
        grad_values, _ = backward_weight(grad, grad_output, False, ctx.call)
    return grad_grad, grad_values, None, None


def _save_backward_weight(ctx: Any, inputs: tuple, output: Any) -> None:
    input, grad_output, ctx.with_bias, ctx.call = inputs
    ctx.save_for_backward(input, grad_output)


def _derive_backward_weight(ctx: Any, grad_values: Tensor, grad_bias: Tensor) -> tuple:
    input, grad_output = ctx.saved_tensors
    call = Call(*ctx.call.parts)  # of its own, as these values are others
    grad_input = grad_grad = None
    if ctx.needs_input_grad[0]:
        grad_input = backward_input(grad_output, grad_values, input.shape, call)
    if ctx.needs_input_grad[1]:
        grad_grad = conv2d(input, grad_values, grad_bias if ctx.with_bias else None, call)
    return grad_input, grad_grad, None, None


def _without_idle_lanes(grad: Tensor, call: Call) -> Tensor:
    return grad if call.n is None else zero_past(grad, call.n)


_conv2d = make_operator(
    "conv2d",
    *(_forward, _fake_forward, _save_forward, _derive_forward),
    schema="Tensor input, Tensor values, Tensor? bias -> Tensor",
)
_conv2d_backward_input = make_operator(
    "conv2d_backward_input",
    *(_backward_input, _fake_backward_input, _save_backward_input, _derive_backward_input),
    schema="Tensor grad_output, Tensor values, SymInt[] input_shape -> Tensor",
)
_conv2d_backward_weight = make_operator(
    "conv2d_backward_weight",
    *(_backward_weight, _fake_backward_weight, _save_backward_weight, _derive_backward_weight),
    schema="Tensor input, Tensor grad_output, bool with_bias -> (Tensor, Tensor)",
)


# Where operators have no rules there is the reference: a sample may have weights or gradients of its own, for
# which torch has rules for dense convolution.


def conv2d(input: Tensor, values: Tensor, bias: Tensor | None, call: Call) -> Tensor:
    """Return the convolution of the input with the kept values, plus the bias, in the layout of the input."""
    if not has_no_rules():
        return _conv2d(input, values, bias, call)
    x = _strided(input, call)
    return _laid_like(input, call, reference.forward(x, _dense(values, call, x), bias, call.geometry))


def backward_input(grad_output: Tensor, values: Tensor, input_shape: Sequence[int], call: Call) -> Tensor:
    """Return the gradient to an input of the given shape, in the layout of the gradient."""
    if not has_no_rules():
        return _conv2d_backward_input(grad_output, values, input_shape, call)
    g, size = _strided(grad_output, call), spatial_size(input_shape)
    grad_input = reference.backward_input(g, _dense(values, call, g), call.geometry, size)
    return _laid_like(grad_output, call, grad_input)


def backward_weight(input: Tensor, grad_output: Tensor, with_bias: bool, call: Call) -> tuple[Tensor, Tensor]:
    """Return the gradients to the kept values (nnz,) and to the bias (C_out,), or (0,) without one."""
    if not has_no_rules():
        return _conv2d_backward_weight(input, grad_output, with_bias, call)
    x, g = _strided(input, call), _strided(grad_output, call)
    grad_weight, grad_bias = reference.backward_weight(x, g, call.geometry, with_bias)
    return gather(grad_weight, call.positions), input.new_empty(0) if grad_bias is None else grad_bias


def _strided(tensor: Tensor, call: Call) -> Tensor:
    return tensor if call.n is None else from_blocks(tensor, call.n)


def _laid_like(operand: Tensor, call: Call, result: Tensor) -> Tensor:
    return result if call.n is None else to_blocks(result, operand.shape[4])


def _dense(values: Tensor, call: Call, like: Tensor) -> Tensor:
    return scatter(values, call.positions, call.geometry.weight_shape[: like.dim()])
