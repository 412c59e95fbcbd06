"""The three passes: operands are checked, then the compiled core or the reference does the work.

Arguments that all share: ``positions`` (nnz,) int64 and ``pattern`` int32 say which weights are kept;
``geometry`` is a ``Geometry``; ``n`` is None for strided operands, (N, C, H, W), and the number of samples
for blocked ones; ``backend`` is a name from ``dispatch.BACKENDS``. A result has the layout of its operand.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sparsefit.conv import backend as kernels
from sparsefit.conv import dispatch, reference
from sparsefit.conv.geometry import Geometry
from sparsefit.conv.layout import from_blocks, memory_format, to_blocks
from sparsefit.conv.mask import shape_text
from sparsefit.errors import InputError


def forward(
    input: Tensor,
    values: Tensor,
    bias: Tensor | None,
    positions: Tensor,
    pattern: Tensor,
    geometry: Sequence[int],
    n: int | None,
    backend: str,
) -> Tensor:
    """Return the output, (N, C_out, H_out, W_out) or its blocks."""
    shape = Geometry(*geometry)
    _check_operands(shape, values, input=input, bias=bias)
    size = spatial_size(input)
    return dispatch.run(
        dispatch.Call("forward", shape, size, n, values.shape[0]),
        backend,
        input,
        sparse=lambda: kernels.forward(input, values, bias, pattern, shape, n),
        dense=lambda: _laid_like(
            input, reference.forward(strided(input, n), values, bias, positions, shape), n
        ),
    )


def backward_input(
    grad_output: Tensor,
    values: Tensor,
    positions: Tensor,
    pattern: Tensor,
    geometry: Sequence[int],
    size: Sequence[int],
    n: int | None,
    backend: str,
) -> Tensor:
    """Return the gradient to an input of the given (H, W)."""
    shape = Geometry(*geometry)
    _check_operands(shape, values, size=size, grad_output=grad_output)

    def dense() -> Tensor:
        g = strided(grad_output, n)
        grad_input = reference.backward_input(g, values, positions, shape, size, memory_format(g))
        return _laid_like(grad_output, grad_input, n)

    return dispatch.run(
        dispatch.Call("backward_input", shape, (size[0], size[1]), n, values.shape[0]),
        backend,
        grad_output,
        sparse=lambda: kernels.backward_input(grad_output, values, pattern, shape, size, n),
        dense=dense,
    )


def backward_weight(
    input: Tensor,
    grad_output: Tensor,
    positions: Tensor,
    pattern: Tensor,
    geometry: Sequence[int],
    with_bias: bool,
    n: int | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Return the gradients to the kept values (nnz,) and to the bias, (C_out,) or (0,) without one."""
    shape = Geometry(*geometry)
    size, nnz = spatial_size(input), positions.shape[0]
    _check_operands(shape, input, size=size, input=input, grad_output=grad_output)
    return dispatch.run(
        dispatch.Call("backward_weight", shape, size, n, nnz),
        backend,
        grad_output,
        sparse=lambda: kernels.backward_weight(input, grad_output, pattern, nnz, with_bias, shape, n),
        dense=lambda: _dense_backward_weight(
            strided(input, n), strided(grad_output, n), positions, shape, with_bias
        ),
    )


def _dense_backward_weight(
    input: Tensor, grad_output: Tensor, positions: Tensor, geometry: Geometry, with_bias: bool
) -> tuple[Tensor, Tensor]:
    grad_values = reference.backward_weight(input, grad_output, positions, geometry)
    return grad_values, grad_output.sum((0, 2, 3)) if with_bias else grad_output.new_empty(0)


def spatial_size(tensor: Tensor) -> tuple[int, int]:
    """Return (H, W) of a strided or blocked operand."""
    return (tensor.shape[2], tensor.shape[3])


def strided(tensor: Tensor, n: int | None) -> Tensor:
    """Return (N, C, H, W) for a strided or blocked operand."""
    if n is None:
        return tensor
    return kernels.from_blocks(tensor, n) if kernels.handles(tensor) else from_blocks(tensor, n)


def _laid_like(operand: Tensor, result: Tensor, n: int | None) -> Tensor:
    """Return a strided result in the layout that the operators promise: that of their operand."""
    if n is not None:
        lanes = operand.shape[4]
        return kernels.to_blocks(result, lanes) if kernels.handles(result) else to_blocks(result, lanes)
    return result.contiguous(memory_format=memory_format(operand))


def _check_operands(
    geometry: Geometry,
    numbers: Tensor,
    *,
    size: Sequence[int] | None = None,
    input: Tensor | None = None,
    grad_output: Tensor | None = None,
    bias: Tensor | None = None,
) -> None:
    """Refuse what would read or write out of range: the core sees addresses only."""
    if input is not None:
        size = spatial_size(input)
        _check_operand("input", input, numbers, (geometry.c_in, *size))
    assert size is not None
    output_size = geometry.output_size(*size)
    if min(output_size) < 1:
        raise InputError(
            f"a kernel of {geometry.kh}×{geometry.kw} (dilation {geometry.dilation_h}×{geometry.dilation_w}) "
            f"does not fit into an input of {size[0]}×{size[1]} with its padding: pad more or enlarge it"
        )
    if grad_output is not None:
        _check_operand("gradient", grad_output, numbers, (geometry.c_out, *output_size))
        if input is not None and grad_output.shape[0] != input.shape[0]:
            raise InputError(f"input and gradient differ in batch: {input.shape[0]}, {grad_output.shape[0]}")
    if bias is not None and (bias.shape != (geometry.c_out,) or bias.dtype != numbers.dtype):
        raise InputError(
            f"bias must be {numbers.dtype} of shape ({geometry.c_out},), "
            f"got {bias.dtype} of shape {shape_text(bias.shape)}"
        )


def _check_operand(name: str, tensor: Tensor, numbers: Tensor, shape: tuple[int, ...]) -> None:
    if tensor.shape[1:4] != shape:
        raise InputError(
            f"{name} must have (channels, height, width) = {shape_text(shape)}, "
            f"got {shape_text(tensor.shape[1:4])}"
        )
    if tensor.dtype != numbers.dtype or tensor.device != numbers.device:
        raise InputError(
            f"{name} is {tensor.dtype} on {tensor.device}, the layer is {numbers.dtype} on {numbers.device}: "
            "move one to the other with .to()"
        )
