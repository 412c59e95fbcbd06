"""The three passes of a call: operands are checked, then the compiled core or the reference does the work.

A result has the layout of its operand.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sparsefit.conv import dispatch, kernels, reference
from sparsefit.conv.call import Call
from sparsefit.conv.layout import from_blocks, memory_format, to_blocks
from sparsefit.conv.mask import shape_text
from sparsefit.conv.packed import gather
from sparsefit.errors import InputError


def forward(call: Call, input: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Return the output, (N, C_out, H_out, W_out), (N, C_out) or its blocks."""
    call.size(input.shape)
    _check_values(call, values)
    _check_numbers("input", input, values)
    _check_tables(call, input)
    if bias is not None:
        if bias.shape != (call.geometry.c_out,):
            raise InputError(
                f"bias must have the shape ({call.geometry.c_out},), got {shape_text(bias.shape)}"
            )
        _check_numbers("bias", bias, values)
    return dispatch.run("forward", call, input, kernels.forward, _dense_forward, (input, values, bias))


def backward_input(call: Call, grad_output: Tensor, values: Tensor, input_shape: Sequence[int]) -> Tensor:
    """Return the gradient to an input of the given shape."""
    problem = call.size(input_shape)
    _check_values(call, values)
    _check_gradient(grad_output, problem.output_shape)
    _check_numbers("gradient", grad_output, values)
    _check_tables(call, grad_output)
    return dispatch.run(
        "backward_input",
        call,
        grad_output,
        kernels.backward_input,
        _dense_backward_input,
        (grad_output, values),
    )


def backward_weight(
    call: Call, input: Tensor, grad_output: Tensor, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients to the kept values (nnz,) and to the bias (C_out,), or None without one."""
    problem = call.size(input.shape)
    _check_gradient(grad_output, problem.output_shape)
    _check_numbers("gradient", grad_output, input)
    _check_tables(call, input)
    return dispatch.run(
        "backward_weight",
        call,
        grad_output,
        kernels.backward_weight,
        _dense_backward_weight,
        (input, grad_output, with_bias),
    )


def _dense_forward(call: Call, input: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    output = reference.forward(_strided(call, input), call.dense_weight(values), bias, call.geometry)
    return _laid_like(call, input, output)


def _dense_backward_input(call: Call, grad_output: Tensor, values: Tensor) -> Tensor:
    g, weight = _strided(call, grad_output), call.dense_weight(values)
    size = call.sized.size
    grad_input = reference.backward_input(g, weight, call.geometry, size, memory_format(g))
    return _laid_like(call, grad_output, grad_input)


def _dense_backward_weight(
    call: Call, input: Tensor, grad_output: Tensor, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    x, g = _strided(call, input), _strided(call, grad_output)
    grad_weight, grad_bias = reference.backward_weight(x, g, call.geometry, with_bias)
    return gather(grad_weight, call.positions), grad_bias


def _strided(call: Call, tensor: Tensor) -> Tensor:
    """Return (N, C, H, W) for a strided or blocked operand."""
    if call.n is None:
        return tensor
    return kernels.from_blocks(tensor, call.n) if kernels.handles(tensor) else from_blocks(tensor, call.n)


def _laid_like(call: Call, operand: Tensor, result: Tensor) -> Tensor:
    """Return a strided result in the layout that the operators promise: that of their operand."""
    if call.n is not None:
        lanes = operand.shape[4]
        return kernels.to_blocks(result, lanes) if kernels.handles(result) else to_blocks(result, lanes)
    if operand.is_contiguous() and result.is_contiguous():
        return result
    return result if result.dim() == 2 else result.contiguous(memory_format=memory_format(operand))


# What would be read or written out of range is refused here: the core sees addresses only.


def _check_values(call: Call, values: Tensor) -> None:
    if values.dim() != 1 or values.numel() != call.positions.numel():
        raise InputError(
            f"values must have the shape {shape_text(call.positions.shape)} that the mask gives, "
            f"got {shape_text(values.shape)}"
        )


def _check_tables(call: Call, operand: Tensor) -> None:
    on_cpu = call.pattern.is_cpu and operand.is_cpu
    if not on_cpu and call.pattern.device != operand.device:
        raise InputError(
            f"the mask of the layer is on {call.pattern.device}, its input on {operand.device}: "
            "move one to the other with .to()"
        )


def _check_gradient(grad_output: Tensor, shape: tuple[int, ...]) -> None:
    if grad_output.shape != shape:
        raise InputError(
            f"gradient must have the shape {shape_text(shape)}, got {shape_text(grad_output.shape)}"
        )


def _check_numbers(name: str, tensor: Tensor, like: Tensor) -> None:
    on_cpu = tensor.is_cpu and like.is_cpu  # asked first: a device is an object made at each question
    if tensor.dtype != like.dtype or (not on_cpu and tensor.device != like.device):
        raise InputError(
            f"{name} is {tensor.dtype} on {tensor.device}, the layer is {like.dtype} on {like.device}: "
            "move one to the other with .to()"
        )
