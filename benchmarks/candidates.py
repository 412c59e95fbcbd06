"""What is timed: a function per pass, for the sparse kernels, for dense torch, and for SparseProp.

Operators are compared with operators, without autograd's bookkeeping on either side, and whole layers with
whole layers, with it. The first layer of a network has no gradient to its input, on either side.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from layers import Layer, Operands
from torch import Tensor, nn
from torch.nn import functional

from sparsefit import _core
from sparsefit.conv import SparseConv2d, SparseLinear
from sparsefit.conv.layout import lanes_for

Candidate = Callable[[], object]
FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, ALL = (
    "forward",
    "backward_input",
    "backward_weight",
    "forward+backward",
)
PASSES = (FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, ALL)
_convolution = torch.ops.aten.convolution.default
_convolution_backward = torch.ops.aten.convolution_backward.default


class CoreCandidate:
    """The compiled kernels called directly, on blocked operands or on NCHW ones.

    Blocked operands have the border of zeros that the layer pads with, as the built-in networks keep them.
    """

    def __init__(self, operands: Operands, sparsity: float, threads: int, *, blocked: bool) -> None:
        layer, n = operands.layer, operands.batch
        self.layer, self.n, self.threads = layer, n, threads
        self.lanes = lanes_for(n) if blocked else 0
        self.border = max(layer.pad_before, layer.pad_after) if blocked else 0
        mask = operands.masks[sparsity]
        self.values, self.bias = operands.weight[mask], operands.bias
        self.pattern = torch.from_numpy(_core.pack(mask.numpy(), 1))
        self.input, self.grad_output = self._lay(operands.input), self._lay(operands.grad_output)
        self.output, self.grad_input = torch.zeros_like(self.grad_output), torch.zeros_like(self.input)
        self.grad_values, self.grad_bias = torch.empty_like(self.values), torch.empty_like(self.bias)
        h_out, w_out = layer.out_size
        self.conv = _core.Conv(
            n=n, c_in=layer.c_in, h_in=layer.height, w_in=layer.width,
            c_out=layer.c_out, h_out=h_out, w_out=w_out, kh=layer.kernel, kw=layer.kernel,
            stride_h=layer.stride, stride_w=layer.stride, pad_top=layer.pad_before, pad_left=layer.pad_before,
        )  # fmt: skip

    def _lay(self, tensor: Tensor) -> Tensor:
        if not self.lanes:
            return tensor
        blocks = -(-self.n // self.lanes)
        sides = (self.border,) * 4
        padded = functional.pad(tensor, (*sides, 0, 0, 0, blocks * self.lanes - self.n))
        return padded.view(blocks, self.lanes, *padded.shape[1:]).permute(0, 2, 3, 4, 1).contiguous()

    def unlay(self, tensor: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        if not self.lanes:
            return tensor
        images = tensor.permute(0, 4, 1, 2, 3).flatten(0, 1)[: self.n]
        height, width = (side - self.border for side in images.shape[2:])
        return images[:, :, self.border : height, self.border : width]

    def _operand(self, tensor: Tensor) -> _core.Operand:
        if self.lanes:
            return _core.Operand(tensor.data_ptr(), lanes=self.lanes, border=self.border)
        return _core.Operand(tensor.data_ptr(), strides=tensor.stride())

    def passes(self) -> dict[str, Candidate]:
        conv, threads, pattern = self.conv, self.threads, self.pattern.data_ptr()
        x, y = self._operand(self.input), self._operand(self.output)
        gy, gx = self._operand(self.grad_output), self._operand(self.grad_input)
        w, b = self.values.data_ptr(), self.bias.data_ptr()
        gw, gb = self.grad_values.data_ptr(), self.grad_bias.data_ptr()
        self.addresses = {
            FORWARD: (conv, x, w, b, pattern, y, threads),
            BACKWARD_INPUT: (conv, gy, w, pattern, gx, threads),
            BACKWARD_WEIGHT: (conv, x, gy, pattern, gw, gb, threads),
        }
        return _with_all(self.layer, self._forward, self._backward_input, self._backward_weight)

    # Methods, not local functions: as long as one is held, so is the memory that the addresses point to.
    def _forward(self) -> None:
        _core.forward(*self.addresses[FORWARD])

    def _backward_input(self) -> None:
        _core.backward_input(*self.addresses[BACKWARD_INPUT])

    def _backward_weight(self) -> None:
        _core.backward_weight(*self.addresses[BACKWARD_WEIGHT])


def dense_passes(operands: Operands, memory_format: torch.memory_format) -> dict[str, Candidate]:
    """Return torch's own operators. Uneven padding is timed as the even one, which costs the same."""
    layer = operands.layer
    bias = operands.bias
    if layer.is_linear:
        x, weight, grad = (t.flatten(1) for t in (operands.input, operands.weight, operands.grad_output))
        return _with_all(
            layer,
            lambda: functional.linear(x, weight, bias),
            lambda: grad @ weight,
            lambda: (grad.t() @ x, grad.sum(0)),
        )
    x, weight, grad = (
        t.contiguous(memory_format=memory_format)
        for t in (operands.input, operands.weight, operands.grad_output)
    )
    pad = max(layer.pad_before, layer.pad_after)
    rest = ([layer.stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1)

    def backward(mask: list[bool]) -> object:
        return _convolution_backward(grad, x, weight, [layer.c_out], *rest, mask)

    return {
        FORWARD: lambda: _convolution(x, weight, bias, *rest),
        BACKWARD_INPUT: lambda: backward([True, False, False]),
        BACKWARD_WEIGHT: lambda: backward([False, True, True]),
        # One call for both gradients, as autograd makes it.
        ALL: lambda: (_convolution(x, weight, bias, *rest), backward([not layer.first, True, True])),
    }


def _with_all(
    layer: Layer, forward: Candidate, backward_input: Candidate, backward_weight: Candidate
) -> dict:
    def everything() -> None:
        forward()
        if not layer.first:
            backward_input()
        backward_weight()

    return {
        FORWARD: forward,
        BACKWARD_INPUT: backward_input,
        BACKWARD_WEIGHT: backward_weight,
        ALL: everything,
    }


def train_step(module: nn.Module, operands: Operands, memory_format: torch.memory_format) -> Candidate:
    """Return forward and backward of a whole layer through autograd, on strided tensors."""
    layer = operands.layer
    if layer.is_linear:
        x, grad = operands.input.flatten(1), operands.grad_output.flatten(1)
    else:
        x = operands.input.contiguous(memory_format=memory_format)
        grad = operands.grad_output.contiguous(memory_format=memory_format)
        module = module.to(memory_format=memory_format)
    x = x.detach().requires_grad_(not layer.first)
    targets = [*module.parameters()] + ([] if layer.first else [x])
    return lambda: torch.autograd.grad(module(x), targets, grad)


class Compiler:
    """Compiles dense layers as long as there is time for it; one layer and batch takes seconds to minutes."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def train_step(self, operands: Operands) -> dict[str, Candidate]:
        """Return the compiled step by its name, or nothing if there is no time left or no compiler."""
        if self._left <= 0:
            return {}
        start = time.perf_counter()
        torch._dynamo.reset()
        step = train_step(torch.compile(dense_layer(operands)), operands, torch.contiguous_format)
        try:
            step()
        except RuntimeError as error:  # what dynamo and inductor raise, for example without a C++ compiler
            print(f"no torch.compile from here: {str(error).splitlines()[0]}", file=sys.stderr)
            self._left = 0
            return {}
        self._left -= time.perf_counter() - start
        return {"torch.compile": step}


def dense_layer(operands: Operands, weight: Tensor | None = None) -> nn.Conv2d | nn.Linear:
    layer = operands.layer
    weight = operands.weight if weight is None else weight
    dense: nn.Conv2d | nn.Linear
    if layer.is_linear:
        dense, weight = nn.Linear(layer.c_in, layer.c_out), weight.flatten(1)
    else:
        pad = max(layer.pad_before, layer.pad_after)
        dense = nn.Conv2d(layer.c_in, layer.c_out, layer.kernel, layer.stride, pad)
    with torch.no_grad():
        dense.weight.copy_(weight)
        dense.bias.copy_(operands.bias)  # type: ignore[union-attr]
    return dense


def sparse_layer(operands: Operands, sparsity: float, backend: str) -> nn.Module:
    """Return the layer that a user gets: "sparse" uses the kernels whether or not they win."""
    mask, dense = operands.masks[sparsity], dense_layer(operands)
    if isinstance(dense, nn.Linear):
        return SparseLinear.from_dense(dense, mask.flatten(1), backend=backend)
    return SparseConv2d.from_dense(dense, mask, backend=backend)


def sparseprop_layers(operands: Operands, sparsity: float) -> dict[str, nn.Module]:
    """Return SparseProp's layers; none where it is absent, or wrong as in batches not a multiple of 8."""
    if operands.batch % 8:
        return {}
    try:
        from sparseprop import modules
    except ImportError:
        return {}
    dense = dense_layer(operands, operands.masked_weight(sparsity))
    if isinstance(dense, nn.Linear):
        return {"sparseprop": modules.SparseLinear.from_dense(dense)}
    return {
        "sparseprop": modules.SparseConv2d.from_dense(dense),
        "sparseprop over_on": modules.SparseConv2d.from_dense(dense, vectorizing_over_on=True),
    }
