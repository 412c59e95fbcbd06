"""What passes do to their numbers before they are stored: the same as in passes of their own."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from tests.conv.test_blocked_core import lanes_of, to_blocks
from tests.conv.test_border import bordered

_core = pytest.importorskip("sparsefit._core", reason="needs the compiled core")

# c_in, c_out, side, kernel, stride, padding: in tiles; with a column stride; in rows; a linear layer.
GEOMETRIES = [(5, 20, 9, 3, 1, 1), (4, 6, 10, 3, 2, 1), (3, 4, 8, 5, 1, 0), (12, 7, 1, 1, 1, 0)]
# For means of 2 x 2 pixels: tiles of every second pixel, of neighbours; rows.
EVEN = [(4, 6, 12, 3, 2, 1), (4, 6, 12, 4, 2, 1), (5, 20, 6, 3, 1, 1), (3, 4, 8, 5, 1, 0)]


def finished(v, before, gate, after):
    """The definition, on blocked tensors."""
    v = v.clone()
    if before is not None:
        v[:, : before.shape[1]] += before
    if gate is not None:
        v = torch.where(gate <= 0, 0.0, v)
    return v if after is None else v + after


def addresses(tensors):
    return {part: tensor.data_ptr() for part, tensor in tensors.items()}


def inside(tensor, border):
    """The images without their border."""
    height, width = tensor.shape[2:4]
    return tensor[:, :, border : height - border, border : width - border]


@dataclass
class Pass:
    """A pass to blocked images, plain and fused with a `Finish`."""

    name: str
    channels: int
    size: int
    border: int
    blocks: Callable[..., torch.Tensor]
    call: Callable[..., None]

    def __post_init__(self):
        self.plain, self.fused = self.blocks(self.channels), self.blocks(self.channels)
        self.call(self.plain)

    def run(self, *, relu=False, **finish):
        self.call(self.fused, **({"relu": True} if relu else {}), finish=_core.Finish(**finish))

    def check(self, expected):
        found, expected = (inside(tensor, self.border) for tensor in (self.fused, expected))
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def passes(geometry, n, weight):
    """Forward and backward_input of a random layer, one of whose weights may be infinite."""
    c_in, c_out, side, kernel, stride, padding = geometry
    torch.manual_seed(0)
    lanes, border = lanes_of(n), padding
    mask = torch.rand(c_out, c_in, kernel, kernel) < 0.5
    values, bias = torch.randn(int(mask.sum())), torch.randn(c_out)
    values[0] *= weight
    pattern = torch.from_numpy(_core.pack(mask.numpy(), 1))
    side_out = (side + 2 * padding - kernel) // stride + 1
    conv = _core.Conv(
        n=n, c_in=c_in, h_in=side, w_in=side, c_out=c_out, h_out=side_out, w_out=side_out,
        kh=kernel, kw=kernel, stride_h=stride, stride_w=stride, pad_top=padding, pad_left=padding,
    )  # fmt: skip

    def operand(tensor):
        return _core.Operand(tensor.data_ptr(), lanes=lanes, border=border)

    def make(name, c_from, from_size, c_to, to_size, *tensors):
        def blocks(channels, size=to_size):
            return bordered(to_blocks(torch.randn(n, channels, size, size), lanes), border, 0.0)[1]

        source = blocks(c_from, from_size)

        def call(output, **options):
            pointers = [tensor.data_ptr() for tensor in tensors]
            getattr(_core, name)(conv, operand(source), *pointers, operand(output), 2, **options)

        return Pass(name, c_to, to_size, border, blocks, call)

    forward = "forward", c_in, side, c_out, side_out, values, bias, pattern
    backward = "backward_input", c_out, side_out, c_in, side, values, pattern
    return [make(*forward), make(*backward)]


@pytest.mark.parametrize("weight", [1.0, math.inf])
@pytest.mark.parametrize("parts", [("before",), ("gate",), ("after",), ("before", "gate", "after")])
@pytest.mark.parametrize("n", [2, 8, 11, 16, 20])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_finished_passes_equal_the_passes_and_then_the_operations(geometry, n, parts, weight):
    for one in passes(geometry, n, weight):
        beside = {part: one.blocks(one.channels - (part == "before")) for part in parts}
        one.run(before_channels=one.channels - 1, **addresses(beside))
        expected = finished(one.plain, *(beside.get(part) for part in ("before", "gate", "after")))
        one.check(expected)
        if one.name == "forward":
            one.run(before_channels=one.channels - 1, **addresses(beside), relu=True)
            one.check(torch.where(expected < 0, 0.0, expected))


@pytest.mark.parametrize("weight", [1.0, math.inf])
@pytest.mark.parametrize("more", [-1, 0, 3])
@pytest.mark.parametrize("n", [2, 8, 11, 20])
@pytest.mark.parametrize("geometry", EVEN)
def test_a_quarter_of_the_gradient_of_means_is_added_to_each_pixel(geometry, n, more, weight):
    for one in passes(geometry, n, weight):
        means, gate = one.blocks(one.channels + more, one.size // 2), one.blocks(one.channels)
        one.run(before_channels=one.channels + more, means=True, **addresses({"before": means, "gate": gate}))
        inner = inside(means, one.border)
        spread = inner.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, : one.channels] / 4
        whole = torch.zeros_like(one.plain[:, : one.channels + min(more, 0)])
        inside(whole, one.border).copy_(spread)
        one.check(finished(one.plain, whole, gate, None))


@pytest.mark.parametrize("weight", [1.0, math.inf])
@pytest.mark.parametrize("n", [2, 8, 11, 20])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_rectified_copy_is_that_of_the_finished_numbers(geometry, n, weight):
    for one in passes(geometry, n, weight):
        copy, after = one.blocks(one.channels), one.blocks(one.channels)
        one.run(**addresses({"rectified": copy, "after": after}))
        expected = finished(one.plain, None, None, after)
        one.check(expected)
        one.fused = copy
        one.check(torch.where(expected < 0, 0.0, expected))
