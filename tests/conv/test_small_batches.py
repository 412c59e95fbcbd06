"""Batches below the lanes, those of at most 8 by kernels of their own: against torch in float64."""

import random

import pytest
import torch
from torch.nn import functional

from sparsefit.conv.layout import from_blocks, lanes_for, to_blocks

_core = pytest.importorskip("sparsefit._core", reason="needs the compiled core")


def random_case(seed, least, most):
    """A geometry and a density for a batch of that size; about one in six is a linear layer."""
    choose = random.Random(seed)
    groups = choose.choice([1, 1, 2])
    size = {
        "n": choose.randint(least, most),
        "c_in": groups * choose.choice([1, 2, 5, 17]),
        "h_in": choose.randint(1, 19),
        "w_in": choose.randint(1, 40),
        "c_out": groups * choose.choice([1, 3, 16]),
        "groups": groups,
    }
    for axis, pad in (("h", "pad_top"), ("w", "pad_left")):
        size[f"k{axis}"] = choose.choice([1, 2, 3, 5])
        size[f"stride_{axis}"] = choose.choice([1, 2, 3])
        size[pad] = choose.choice([0, 1, 4])
        size[f"dilation_{axis}"] = choose.choice([1, 2])
    if seed % 6 == 0:
        size |= dict.fromkeys(["h_in", "w_in", "kh", "kw", "stride_h", "stride_w"], 1)
        size |= {"pad_top": 0, "pad_left": 0}
    for side, reach in (("h_in", "kh"), ("w_in", "kw")):
        size[side] = max(size[side], 2 * (size[reach] - 1) + 1)
    return size, choose.choice([0.0, 0.1, 0.5, 1.0])


def operand(tensor, lanes):
    if lanes:
        return _core.Operand(tensor.data_ptr(), lanes=lanes)
    return _core.Operand(tensor.data_ptr(), strides=tensor.stride())


@pytest.mark.parametrize("layout", ["blocked", "NCHW", "channels_last"])
@pytest.mark.parametrize(
    ("least", "most", "seed"), [*((1, 8, seed) for seed in range(60)), *((9, 15, seed) for seed in range(20))]
)
def test_all_passes_match_torch_at_small_batches(least, most, seed, layout):
    torch.manual_seed(seed)
    size, density = random_case(seed, least, most)
    n, groups = size["n"], size["groups"]
    mask = torch.rand(size["c_out"], size["c_in"] // groups, size["kh"], size["kw"]) < density
    weight = (torch.randn(mask.shape, dtype=torch.float64) * mask).requires_grad_()
    x = torch.randn(n, size["c_in"], size["h_in"], size["w_in"], dtype=torch.float64, requires_grad=True)
    bias = torch.randn(size["c_out"], dtype=torch.float64, requires_grad=True)
    y = functional.conv2d(
        x, weight, bias, (size["stride_h"], size["stride_w"]), (size["pad_top"], size["pad_left"]),
        (size["dilation_h"], size["dilation_w"]), groups,
    )  # fmt: skip
    g = torch.randn_like(y)
    grad_x, grad_weight, grad_bias = torch.autograd.grad(y, [x, weight, bias], g)

    lanes = lanes_for(n) if layout == "blocked" else 0

    def lay(tensor):
        tensor = tensor.detach().float()
        if layout == "blocked":
            return to_blocks(tensor, lanes)
        last = layout == "channels_last"
        return tensor.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)

    def strided(tensor):
        return from_blocks(tensor, n) if lanes else tensor

    conv = _core.Conv(**size, h_out=y.shape[2], w_out=y.shape[3])
    pattern = torch.from_numpy(_core.pack(mask.numpy(), groups))
    values, b = weight.detach().float()[mask], bias.detach().float()
    a, d, out, grad_in = (
        lay(x),
        lay(g),
        lay(torch.full_like(y, torch.nan)),
        lay(torch.full_like(x, torch.nan)),
    )
    first = None
    for threads in (1, 3):
        grad_values, grad_b = torch.full_like(values, torch.nan), torch.full_like(b, torch.nan)
        _core.forward(
            conv,
            operand(a, lanes),
            values.data_ptr(),
            b.data_ptr(),
            pattern.data_ptr(),
            operand(out, lanes),
            threads,
        )
        _core.backward_input(
            conv, operand(d, lanes), values.data_ptr(), pattern.data_ptr(), operand(grad_in, lanes), threads
        )
        _core.backward_weight(
            conv, operand(a, lanes), operand(d, lanes), pattern.data_ptr(), grad_values.data_ptr(),
            grad_b.data_ptr(), threads,
        )  # fmt: skip
        got = [strided(out).clone(), strided(grad_in).clone(), grad_values, grad_b]
        for result, exact in zip(got, [y, grad_x, grad_weight[mask], grad_bias], strict=True):
            # Sums of up to 6080 terms: rounding grows as the root of their number, in units of the largest.
            scale = exact.abs().max().item() if exact.numel() else 0.0
            torch.testing.assert_close(result.double(), exact.detach(), rtol=0, atol=2e-5 * (1 + scale))
        if first:
            assert all(torch.equal(p, q) for p, q in zip(got, first, strict=True)), "threads change bits"
        first = got
