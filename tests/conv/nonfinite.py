"""Convolutions with infinities and NaN, and what they give by definition: the products that exist, no others.

Kernels pad with zeros that they multiply, and torch's dense convolution skips such products or not, as the
device has it. So the reference here is the definition: a tap is a slice of the image, and what lies outside
does not take part.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from sparsefit.conv import SparseConv2d
from tests.conv.oracle import Case, moved, run

_PLAIN = Case(n=5, c_in=3, c_out=4, size=(6, 7), padding=(1, 1), density=0.7, bias=False)
CASES = {
    **{
        f"batch {n}, padding {p}": replace(_PLAIN, n=n, padding=(p, p))
        for n in (1, 3, 8, 12, 40)
        for p in (0, 1, 2)
    },
    "strides": replace(_PLAIN, stride=(2, 2), size=(7, 8)),
    "strides that differ": replace(_PLAIN, stride=(3, 2), kernel=(5, 3), padding=(2, 0), size=(9, 8)),
    "strides past the kernel": replace(_PLAIN, stride=(3, 4), kernel=(2, 2), size=(10, 9), n=17),
    "dilation": replace(_PLAIN, dilation=(2, 3), padding=(2, 1), size=(8, 9)),
    "padding past the kernel": replace(_PLAIN, padding=(4, 5), n=2),
    "groups": replace(_PLAIN, groups=3, padding=(0, 1)),
    "one pixel": replace(_PLAIN, size=(1, 1), n=9),
    "several tiles": replace(_PLAIN, size=(17, 16), n=16),
}
SPOILT = ["input", "weight", "gradient"]
VALUES = [float("inf"), float("-inf"), float("nan")]


def _taps(
    case: Case, out: tuple[int, int]
) -> Iterator[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """Yield (ky, kx, the part of the input that the tap takes, the part of the output that it serves)."""
    for ky in range(case.kernel[0]):
        for kx in range(case.kernel[1]):
            taken, served = [], []
            for axis, k in enumerate((ky, kx)):
                start, step = k * case.dilation[axis] - case.padding[axis], case.stride[axis]
                pixels = [i for i in range(out[axis]) if 0 <= start + step * i < case.size[axis]]
                if pixels:
                    first, last = pixels[0], pixels[-1]
                    taken.append(slice(start + step * first, start + step * last + 1, step))
                    served.append(slice(first, last + 1))
            if len(taken) == 2:
                yield ky, kx, tuple(taken), tuple(served)


def by_definition(case: Case, x: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return output, gradient to the input and to the kept weights."""
    mask = case.mask()
    y, grad_x, grad_weight = torch.zeros_like(grad), torch.zeros_like(x), torch.zeros_like(weight)
    for ky, kx, taken, served in _taps(case, grad.shape[2:]):
        for o, i in mask[:, :, ky, kx].nonzero().tolist():
            channel = o // case.c_out * case.c_in + i
            part, g, w = x[:, channel, *taken], grad[:, o, *served], weight[o, i, ky, kx]
            y[:, o, *served] += w * part
            grad_x[:, channel, *taken] += w * g
            grad_weight[o, i, ky, kx] = (g * part).sum()
    return y, grad_x, grad_weight[mask]


def check_nonfinite(name: str, spoilt: str, device: str = "cpu") -> None:
    """Check all passes of a case in which two numbers are not finite, one of them at a corner of an image."""
    case = CASES[name]
    x, grad, conv = case.input(), case.gradient(), case.conv()
    kept = case.mask().nonzero()
    for value in VALUES:
        spoiled = {"input": x.clone(), "weight": conv.weight.detach().clone(), "gradient": grad.clone()}
        tensor = spoiled[spoilt]
        if spoilt == "weight":
            for place in (kept[0], kept[len(kept) // 2]):
                tensor[tuple(place)] = value
        else:
            tensor[case.n // 2, 1, 0, 0] = value
            tensor[-1, 0, -1, tensor.shape[3] // 2] = value
        with torch.no_grad():
            conv.weight.copy_(spoiled["weight"])
        layer = SparseConv2d.from_dense(conv, case.mask(), backend="sparse").to(device)
        exact = by_definition(case, *(t.double() for t in spoiled.values()))
        for blocked in (False, True):
            got = run(
                layer, moved(spoiled["input"], device), moved(spoiled["gradient"], device), blocked=blocked
            )
            for actual, expected in zip((got.forward, got.input, got.values), exact, strict=True):
                # Float32 sums of at most 40 · 17 · 16 products near one.
                torch.testing.assert_close(
                    actual.cpu().double(), expected, rtol=1e-4, atol=1e-3, equal_nan=True
                )
