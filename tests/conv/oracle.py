"""One convolution, what it must give in float64, and the check of a layer on any device against it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsefit.conv import Blocked, SparseConv2d, SparseLinear, from_blocked, to_blocked
from tests.tolerances import assert_within_rounding


@dataclass(frozen=True)
class Case:
    """A convolution with a random mask; ``density`` is the share of kept weights.

    With ``kept``, the mask keeps so many weights of one output channel, and no others.
    """

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
    kept: int | None = None
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
        if self.kept is None:
            return torch.rand(shape, generator=generator) < self.density
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[-2].view(-1)[torch.randperm(mask[0].numel(), generator=generator)[: self.kept]] = True
        return mask

    def input(self) -> Tensor:
        """Return a contiguous input."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(self.n, self.c_in * self.groups, *self.size, generator=generator)

    def gradient(self) -> Tensor:
        """Return a contiguous gradient to the output."""
        with torch.no_grad():
            shape = self.conv()(self.input()).shape
        return torch.randn(shape, generator=torch.Generator().manual_seed(self.seed + 2))


def _inside_of_nan(x: Tensor) -> Tensor:
    big = torch.full((x.shape[0], x.shape[1] + 2, x.shape[2] + 1, x.shape[3] + 3), float("nan"))
    big[:, 1:-1, 1:, 2:-1] = x
    return big[:, 1:-1, 1:, 2:-1]


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "sliced": _inside_of_nan,
    "transposed": lambda x: x.transpose(0, 3).contiguous().transpose(0, 3),
    "misaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}
"""The same numbers in other layouts."""


def moved(x: Tensor, device: str) -> Tensor:
    """Return a tensor on a device with the same strides and alignment, which ``to`` would not keep."""
    base = x if x._base is None else x._base
    return base.to(device).as_strided(x.shape, x.stride(), x.storage_offset())


@dataclass(frozen=True)
class Passes:
    """Results of the three passes; bias and its gradient are part of forward and weight."""

    forward: Tensor
    input: Tensor
    values: Tensor
    bias: Tensor | None

    def cpu(self) -> "Passes":
        """Return them where the reference is."""
        bias = None if self.bias is None else self.bias.cpu()
        return Passes(self.forward.cpu(), self.input.cpu(), self.values.cpu(), bias)


def in_float64(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """Return torch's dense layer of the same geometry with these numbers."""
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
        dense.weight.copy_(weight)
        if bias is not None:
            dense.bias.copy_(bias)
    return dense


def expected(conv: nn.Conv2d, mask: Tensor, x: Tensor, grad: Tensor) -> Passes:
    """Return what torch's dense layer gives in float64."""
    dense = in_float64(conv, torch.where(mask, conv.weight.double(), 0), conv.bias)
    x = x.detach().double().contiguous().requires_grad_()
    y = dense(x)
    y.backward(grad.double().contiguous())
    grad_bias = None if conv.bias is None else dense.bias.grad
    return Passes(y.detach(), x.grad, dense.weight.grad[mask], grad_bias)


def magnitudes(conv: nn.Conv2d, mask: Tensor, x: Tensor, grad: Tensor) -> Passes:
    """Return Σ|terms| of every number of ``expected``."""
    bias = None if conv.bias is None else conv.bias.abs()
    absolute = in_float64(conv, conv.weight.double().abs(), bias)
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


def check_case(
    case: Case, layout: str = "contiguous", grad_layout: str = "contiguous", device: str = "cpu"
) -> None:
    """Check a case with strided and with blocked operands."""
    conv, mask = case.conv(), case.mask()
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse").to(device)
    x, grad = LAYOUTS[layout](case.input()), LAYOUTS[grad_layout](case.gradient())
    for blocked in (False, True):
        actual = run(layer, moved(x, device), moved(grad, device), blocked=blocked)
        check(conv, mask, x, grad, actual.cpu())


def check_linear(n: int, c_in: int, c_out: int, blocked: bool, device: str = "cpu") -> None:
    """Check a linear layer that keeps three weights in ten."""
    torch.manual_seed(n)
    linear, mask = nn.Linear(c_in, c_out), torch.rand(c_out, c_in) < 0.3
    layer = SparseLinear.from_dense(linear, mask, backend="sparse").to(device)
    x, grad = torch.randn(n, c_in, device=device, requires_grad=True), torch.randn(n, c_out, device=device)
    y = from_blocked(layer(to_blocked(x))) if blocked else layer(x)
    y.backward(grad)
    weight, bias = (linear.weight * mask).double(), linear.bias.double()
    x64, g64 = x.detach().double().cpu(), grad.double().cpu()
    for name, got, want, size, length in (
        ("forward", y, x64 @ weight.t() + bias, x64.abs() @ weight.abs().t() + bias.abs(), c_in + 1),
        ("gradient to the input", x.grad, g64 @ weight, g64.abs() @ weight.abs(), c_out),
        (
            "gradient to the values",
            layer.values.grad,
            (g64.t() @ x64)[mask],
            (g64.abs().t() @ x64.abs())[mask],
            n,
        ),
        ("gradient to the bias", layer.bias.grad, g64.sum(0), g64.abs().sum(0), n),
    ):
        assert_within_rounding(got.cpu(), want, size, length, name)


def check_chain(device: str = "cpu") -> None:
    """Check a chain of blocked operations, and its gradients, against the same of strided tensors."""
    case = Case(n=3, c_in=3, c_out=4, size=(8, 8), density=0.5)
    layer = SparseConv2d.from_dense(case.conv(), case.mask(), backend="sparse").to(device)
    twin = layer.to_dense().double().cpu()
    x = case.input().to(device).requires_grad_()
    inside = functional.relu(layer(to_blocked(x)))
    inside = functional.max_pool2d(inside + inside, 2)
    assert isinstance(inside, Blocked)
    got = from_blocked(functional.adaptive_avg_pool2d(inside, 1).flatten())
    got.square().sum().backward()
    x64 = x.detach().cpu().double().requires_grad_()
    want = functional.max_pool2d(2 * functional.relu(twin(x64)), 2).mean((2, 3))
    want.square().sum().backward()
    # Sums of at most 36 terms of size one; of the gradient to the values, of 192.
    pairs = [(got, want), (x.grad, x64.grad), (layer.values.grad, twin.weight.grad[case.mask()])]
    for actual, expected in pairs:
        torch.testing.assert_close(actual.cpu().double(), expected, rtol=1e-4, atol=1e-5)
