"""What passes do to their numbers before they are stored: the same as in passes of their own."""

import math

import pytest
import torch

from tests.conv.test_blocked_core import lanes_of, to_blocks
from tests.conv.test_border import bordered

_core = pytest.importorskip("sparsefit._core", reason="needs the compiled core")

# c_in, c_out, side, kernel, stride, padding: in tiles; with a column stride; in rows; a linear layer.
GEOMETRIES = [(5, 20, 9, 3, 1, 1), (4, 6, 10, 3, 2, 1), (3, 4, 8, 5, 1, 0), (12, 7, 1, 1, 1, 0)]


def finished(v, before, gate, after):
    """The definition, on blocked tensors."""
    v = v.clone()
    if before is not None:
        v[:, : before.shape[1]] += before
    if gate is not None:
        v = torch.where(gate <= 0, 0.0, v)
    return v if after is None else v + after


@pytest.mark.parametrize("weight", [1.0, math.inf])
@pytest.mark.parametrize("parts", [("before",), ("gate",), ("after",), ("before", "gate", "after")])
@pytest.mark.parametrize("n", [2, 8, 11, 16, 20])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_finished_passes_equal_the_passes_and_then_the_operations(geometry, n, parts, weight):
    c_in, c_out, side, kernel, stride, padding = geometry
    torch.manual_seed(0)
    lanes = lanes_of(n)
    border = padding
    mask = torch.rand(c_out, c_in, kernel, kernel) < 0.5
    values, bias = torch.randn(int(mask.sum())), torch.randn(c_out)
    values[0] *= weight
    pattern = torch.from_numpy(_core.pack(mask.numpy(), 1))
    side_out = (side + 2 * padding - kernel) // stride + 1
    conv = _core.Conv(
        n=n, c_in=c_in, h_in=side, w_in=side, c_out=c_out, h_out=side_out, w_out=side_out,
        kh=kernel, kw=kernel, stride_h=stride, stride_w=stride, pad_top=padding, pad_left=padding,
    )  # fmt: skip

    def blocks(channels, size):
        return bordered(to_blocks(torch.randn(n, channels, size, size), lanes), border, 0.0)[1]

    def operand(tensor):
        return _core.Operand(tensor.data_ptr(), lanes=lanes, border=border)

    for name, c_from, from_size, c_to, to_size in (
        ("forward", c_in, side, c_out, side_out),
        ("backward_input", c_out, side_out, c_in, side),
    ):
        source, plain, fused = blocks(c_from, from_size), blocks(c_to, to_size), blocks(c_to, to_size)
        beside = {part: blocks(c_to - (part == "before"), to_size) for part in parts}
        finish = _core.Finish(
            before_channels=c_to - 1, **{part: tensor.data_ptr() for part, tensor in beside.items()}
        )
        addresses = [values.data_ptr(), bias.data_ptr()] if name == "forward" else [values.data_ptr()]
        head = (conv, operand(source), *addresses, pattern.data_ptr())
        call = getattr(_core, name)
        call(*head, operand(plain), 2)
        call(*head, operand(fused), 2, finish=finish)
        expected = finished(plain, *(beside.get(part) for part in ("before", "gate", "after")))
        inside = bordered(torch.ones(1, 1, to_size, to_size, 1), border, 0.0)[1].bool()
        inside = inside.expand(fused.shape)
        torch.testing.assert_close(fused[inside], expected[inside], rtol=0, atol=0, equal_nan=True)
        if name == "forward":
            call(*head, operand(fused), 2, relu=True, finish=finish)
            expected = torch.where(expected < 0, 0.0, expected)
            torch.testing.assert_close(fused[inside], expected[inside], rtol=0, atol=0, equal_nan=True)
