"""One convolution, what it must give in float64, and the check of a sparse layer against it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsefit.conv import SparseConv2d, from_blocked, to_blocked
from tests.tolerances import assert_within_rounding


@dataclass(frozen=True)
class Case:
    """A convolution with a random mask; ``density`` is the share of kept weights."""

    n: int = 3
    c_in: int = 4
    c_out: int = 5
    size: tuple[int, int] = (9, 7)
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] | str = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    density: float = 0.3
    bias: bool = True
    seed: int = 0

    def conv(self) -> nn.Conv2d:
        """Return the dense layer in float32."""
        torch.manual_seed(self.seed)
        return nn.Conv2d(
            self.c_in * self.groups,
            self.c_out * self.groups,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.bias,
        )

    def mask(self) -> Tensor:
        """Return the mask."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.c_out * self.groups, self.c_in, *self.kernel)
        return torch.rand(shape, generator=generator) < self.density

    def input(self) -> Tensor:
        """Return a contiguous input."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(self.n, self.c_in * self.groups, *self.size, generator=generator)


@dataclass(frozen=True)
class Passes:
    """Results of the three passes; bias and its gradient are part of forward and weight."""

    forward: Tensor
    input: Tensor
    values: Tensor
    bias: Tensor | None


def expected(conv: nn.Conv2d, mask: Tensor, x: Tensor, grad: Tensor) -> Passes:
    """Return what torch's dense layer gives in float64."""
    dense = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
        dtype=torch.float64,
    )
    with torch.no_grad():
        dense.weight.copy_(torch.where(mask, conv.weight.double(), 0))
        if conv.bias is not None:
            dense.bias.copy_(conv.bias)
    x = x.detach().double().contiguous().requires_grad_()
    y = dense(x)
    y.backward(grad.double().contiguous())
    grad_bias = None if conv.bias is None else dense.bias.grad
    return Passes(y.detach(), x.grad, dense.weight.grad[mask], grad_bias)


def magnitudes(conv: nn.Conv2d, mask: Tensor, x: Tensor, grad: Tensor) -> Passes:
    """Return Σ|terms| of every number of ``expected``."""
    absolute = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
        dtype=torch.float64,
    )
    with torch.no_grad():
        absolute.weight.copy_(conv.weight.double().abs())
        if conv.bias is not None:
            absolute.bias.copy_(conv.bias.abs())
    return expected(absolute, mask, x.abs(), grad.abs())


def run(layer: SparseConv2d, x: Tensor, grad: Tensor | None = None, *, blocked: bool = False) -> Passes:
    """Return what a sparse layer gives, for a gradient to the output or for that of its sum."""
    x = x.detach().requires_grad_()
    layer.zero_grad()
    y = from_blocked(layer(to_blocked(x))) if blocked else layer(x)
    if grad is None:
        y.sum().backward()
    else:
        y.backward(grad)
    return Passes(y.detach(), x.grad, layer.values.grad, None if layer.bias is None else layer.bias.grad)


def check(conv: nn.Conv2d, mask: Tensor, x: Tensor, grad: Tensor, actual: Passes) -> None:
    """Hold every pass against the float64 reference, at the rounding of its own reduction length."""
    want, size = expected(conv, mask, x, grad), magnitudes(conv, mask, x, grad)
    taps = conv.weight[0].numel()
    pixels = grad.numel() // max(grad.shape[-3], 1)
    assert_within_rounding(actual.forward, want.forward, size.forward, taps + 1, "forward")
    reach = conv.out_channels // conv.groups * conv.kernel_size[0] * conv.kernel_size[1]
    assert_within_rounding(actual.input, want.input, size.input, reach, "gradient to the input")
    assert_within_rounding(actual.values, want.values, size.values, pixels, "gradient to the values")
    assert (actual.bias is None) == (want.bias is None)
    if want.bias is not None:
        assert_within_rounding(actual.bias, want.bias, size.bias, pixels, "gradient to the bias")


def check_case(case: Case, x: Tensor | None = None, backend: str = "sparse") -> None:
    """Check a case with strided and with blocked operands."""
    conv, mask = case.conv(), case.mask()
    layer = SparseConv2d.from_dense(conv, mask, backend=backend)
    x = case.input() if x is None else x
    with torch.no_grad():
        shape = conv(x).shape
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(case.seed + 2))
    check(conv, mask, x, grad, run(layer, x, grad))
    check(conv, mask, x, grad, run(layer, x, grad, blocked=True))
