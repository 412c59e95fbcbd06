"""Bias, ReLU and max-pooling in one pass, against the three in a row, with both kinds of gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsefit.conv import SparseConv2d, from_blocked, to_blocked
from sparsefit.conv.blocked_pool import bias_relu_max_pool2d
from sparsefit.errors import InputError


def make_layer(bias=True):
    """Return a sparse convolution, 3 to 5 channels."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=1, bias=bias)
    return SparseConv2d.from_dense(conv, torch.rand(conv.weight.shape) < 0.4, backend="sparse")


@pytest.mark.parametrize(
    "window", [(2, 2, 0), (3, 2, 1), (2, 1, 0)], ids=["2×2", "3×3 padded", "overlapping"]
)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("n", [1, 7, 12, 33])
def test_fused_pooling_equals_the_three_in_a_row(n, bias, window):
    layer = make_layer(bias)
    x = torch.randn(n, 3, 8, 9, requires_grad=True)
    fused = from_blocked(layer.relu_max_pool2d(to_blocked(x), *window))
    plain = functional.max_pool2d(functional.relu(layer(x)), *window)
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)
    grad = torch.randn_like(plain)
    targets = [x, *layer.parameters()]
    got = torch.autograd.grad(fused, targets, grad)
    for mine, exact in zip(got, torch.autograd.grad(plain, targets, grad), strict=True):
        # Sums of at most 33 · 72 products near one.
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=2e-4)


def test_fused_pooling_has_a_second_derivative():
    layer = make_layer()
    x = torch.randn(4, 3, 6, 6, requires_grad=True)
    seconds = []
    for y in (
        from_blocked(layer.relu_max_pool2d(to_blocked(x), 2)),
        functional.max_pool2d(functional.relu(layer(x)), 2),
    ):
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad(first.square().sum(), [x, *layer.parameters()]))
    for mine, exact in zip(*seconds, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-4)


def test_fused_operators_keep_the_rules_of_torch_library():
    x = to_blocked(torch.randn(5, 3, 6, 6)).data.requires_grad_()
    window = [2, 2, 2, 2, 0, 0, 3, 3]
    bias = torch.randn(3, requires_grad=True)
    torch.library.opcheck(torch.ops.sparsefit.bias_relu_max_pool, (x, bias, 5, window))
    output, places = torch.ops.sparsefit.bias_relu_max_pool(x.detach(), bias.detach(), 5, window)
    grad = torch.randn_like(output).requires_grad_()
    torch.library.opcheck(
        torch.ops.sparsefit.bias_relu_max_pool_backward, (output, grad, places, 5, window, [6, 6])
    )


def test_float64_takes_the_three_steps():
    layer = make_layer().double()
    x = torch.randn(3, 3, 6, 6, dtype=torch.float64)
    fused = from_blocked(layer.relu_max_pool2d(to_blocked(x), 2))
    torch.testing.assert_close(fused, functional.max_pool2d(functional.relu(layer(x)), 2))


def test_wrong_operands_of_fused_pooling_are_named():
    layer = make_layer()
    with pytest.raises(InputError, match="to_blocked"):
        layer.relu_max_pool2d(torch.randn(2, 3, 6, 6), 2)
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        bias_relu_max_pool2d(to_blocked(torch.randn(2, 3, 6, 6)), torch.zeros(4), 2)
