"""Infinities and NaN spread as products that exist carry them, and no further.

The kernels pad with zeros that they multiply; dense convolution on this device skips such products. The
reference here is the definition: each tap is a slice of the image, and what lies outside does not take part.
"""

import pytest
import torch
from torch import nn

from sparsefit.conv import SparseConv2d, from_blocked, to_blocked


def products(x, kernel, pad, size):
    """Yield (tap, input part, rows, columns) of every tap: what it takes and what it serves."""
    height, width = x.shape[2:]
    for ky in range(kernel):
        for kx in range(kernel):
            rows = [y for y in range(size[0]) if 0 <= y - pad + ky < height]
            columns = [c for c in range(size[1]) if 0 <= c - pad + kx < width]
            if rows and columns:
                y0, x0 = rows[0] - pad + ky, columns[0] - pad + kx
                part = x[:, :, y0 : y0 + len(rows), x0 : x0 + len(columns)]
                yield (
                    (ky, kx),
                    part,
                    slice(rows[0], rows[-1] + 1),
                    slice(columns[0], columns[-1] + 1),
                    y0,
                    x0,
                )


def by_definition(x, weight, mask, grad, pad):
    """Return output, gradient to the input and to the weight, from the products of kept weights alone."""
    kernel, size = weight.shape[2], grad.shape[2:]
    y = torch.zeros(grad.shape, dtype=x.dtype)
    grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
    for (ky, kx), part, rows, columns, y0, x0 in products(x, kernel, pad, size):
        g = grad[:, :, rows, columns]
        for o, i in mask[:, :, ky, kx].nonzero().tolist():
            y[:, o, rows, columns] += weight[o, i, ky, kx] * part[:, i]
            grad_x[:, i, y0 : y0 + part.shape[2], x0 : x0 + part.shape[3]] += weight[o, i, ky, kx] * g[:, o]
            grad_weight[o, i, ky, kx] = (g[:, o] * part[:, i]).sum()
    return y, grad_x, grad_weight[mask]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("spoilt", ["input", "weight", "gradient"])
@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("n", [1, 3, 8, 12, 40])
@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
def test_nonfinite_numbers_spread_no_further_than_by_definition(n, pad, spoilt, value, blocked):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=pad, bias=False)
    mask = torch.rand(conv.weight.shape) < 0.7
    mask[1, 2, 0, 0] = True
    x, size = torch.randn(n, 3, 6, 7), (4 + 2 * pad, 5 + 2 * pad)
    grad = torch.randn(n, 4, *size)
    with torch.no_grad():
        if spoilt == "weight":
            conv.weight[1, 2, 0, 0] = value
        else:
            (x if spoilt == "input" else grad)[n // 2, 1, 0, 0] = value  # at the border
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse")
    x.requires_grad_()
    y = from_blocked(layer(to_blocked(x))) if blocked else layer(x)
    grad_x, grad_values = torch.autograd.grad(y, [x, layer.values], grad)
    exact = by_definition(*(t.detach().double() for t in (x, conv.weight)), mask, grad.double(), pad)
    for got, expected in zip((y, grad_x, grad_values), exact, strict=True):
        # Float32 sums of at most 40 · 81 products near one.
        torch.testing.assert_close(got.detach().double(), expected, rtol=1e-4, atol=1e-4, equal_nan=True)
