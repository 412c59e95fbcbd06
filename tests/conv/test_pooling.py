"""A convolution pooled out of the cache: the same as convolution and pooling in calls of their own."""

import math

import pytest
import torch

from tests.conv.test_blocked_core import lanes_of, to_blocks, unwritten
from tests.conv.test_border import bordered
from tests.tolerances import rounding

_core = pytest.importorskip("sparsefit._core", reason="needs the compiled core")

# c_in, c_out, height, width, kernel, padding: several bands; a last band of two rows; windows that leave
# out the last row or column (a pass of its own); one window.
GEOMETRIES = [
    (1, 32, 28, 28, 5, 2),
    (3, 20, 30, 34, 3, 1),
    (20, 7, 12, 14, 5, 0),
    (4, 6, 9, 12, 3, 1),
    (4, 6, 12, 9, 3, 1),
    (5, 3, 2, 2, 1, 0),
]


class Layer:
    """A random convolution of `n` images, its map of outputs and what a 2 x 2 pooling makes of that."""

    def __init__(self, geometry, n, *, border=0, with_bias=True, weight=1.0, threads=1):
        self.n, self.threads, self.lanes = n, threads, lanes_of(n)
        c_in, self.c_out, height, width, kernel, padding = geometry
        torch.manual_seed(0)
        mask = torch.rand(self.c_out, c_in, kernel, kernel) < 0.4
        mask[0, 0, 0, 0] = True
        self.values = torch.randn(int(mask.sum()))
        self.values[0] *= weight
        self.bias = torch.randn(self.c_out) if with_bias else None
        self.pattern = torch.from_numpy(_core.pack(mask.numpy(), 1))
        h_out, w_out = (side + 2 * padding - kernel + 1 for side in (height, width))
        self.conv = _core.Conv(
            n=n, c_in=c_in, h_in=height, w_in=width, c_out=self.c_out, h_out=h_out, w_out=w_out,
            kh=kernel, kw=kernel, pad_top=padding, pad_left=padding,
        )  # fmt: skip
        self.shape = _core.Blocked(n=n, channels=self.c_out, height=h_out, width=w_out, lanes=self.lanes)
        self.pool = _core.Pool(
            kernel_h=2, kernel_w=2, stride_h=2, stride_w=2, h_out=h_out // 2, w_out=w_out // 2, border=border
        )  # fmt: skip
        self.pixels = n * h_out * w_out
        self.x = to_blocks(torch.randn(n, c_in, height, width), self.lanes)
        pooled = torch.randn(n, self.c_out, h_out // 2, w_out // 2)
        self.grad_pooled = bordered(to_blocks(pooled, self.lanes), border, 0.0)[1]
        self.map_shape = (-(-n // self.lanes), self.c_out, h_out, w_out, self.lanes)

    def operand(self, tensor):
        return _core.Operand(tensor.data_ptr(), lanes=self.lanes)

    def pooled(self):
        """A pooled map and its places, not written but for the border of the first."""
        return torch.zeros_like(self.grad_pooled), torch.full(self.grad_pooled.shape, 255, dtype=torch.uint8)

    def pooling(self, pooled, places, grad_bias=None):
        return _core.Pooling(
            pool=self.pool,
            bias=0 if self.bias is None else self.bias.data_ptr(),
            output=pooled.data_ptr(),
            places=0 if places is None else places.data_ptr(),
            grad_output=self.grad_pooled.data_ptr(),
            grad_bias=0 if grad_bias is None else grad_bias.data_ptr(),
        )

    def forward(self, into, **options):
        weights = self.values.data_ptr(), 0, self.pattern.data_ptr()
        _core.forward(self.conv, self.operand(self.x), *weights, self.operand(into), self.threads, **options)

    def forward_apart(self):
        """The definition: two calls."""
        into, (pooled, places) = unwritten(*self.map_shape), self.pooled()
        self.forward(into)
        bias = 0 if self.bias is None else self.bias.data_ptr()
        _core.bias_relu_max_pool(
            self.shape, self.pool, into.data_ptr(), bias, pooled.data_ptr(), places.data_ptr(), 1
        )
        return pooled, places

    def backward_weight(self, into, **options):
        grad_values = unwritten(len(self.values))
        _core.backward_weight(
            self.conv, self.operand(self.x), self.operand(into), self.pattern.data_ptr(),
            grad_values.data_ptr(), 0, self.threads, **options,
        )  # fmt: skip
        return grad_values

    def backward_apart(self, pooled, places):
        into, grad_bias = unwritten(*self.map_shape), unwritten(self.c_out)
        pointers = (t.data_ptr() for t in (pooled, self.grad_pooled, places, into, grad_bias))
        _core.bias_relu_max_pool_backward(self.shape, self.pool, *pointers, 1)
        self.grad_map = into
        return self.backward_weight(into), grad_bias

    def allowed(self):
        """How far two orders of the sums over all pixels may be apart, for each gradient."""
        signed, self.x = self.x, self.x.abs()
        sums = self.backward_weight(self.grad_map.abs()), self.grad_map.abs().sum((0, 2, 3, 4))
        self.x = signed
        return [2 * rounding(magnitude, self.pixels, torch.float32) for magnitude in sums]

    def backward_together(self, pooled, places):
        grad_bias = unwritten(self.c_out)
        pooling = self.pooling(pooled, places, grad_bias)
        return self.backward_weight(unwritten(*self.map_shape), pooling=pooling), grad_bias


@pytest.mark.parametrize("options", [{}, {"border": 1}, {"with_bias": False}, {"weight": math.inf}], ids=str)
@pytest.mark.parametrize("n", [2, 8, 9, 16, 35])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_pooled_forward_pass_has_the_bits_of_two_calls(geometry, n, options):
    layer = Layer(geometry, n, **options)
    expected, expected_places = layer.forward_apart()
    for threads in (1, 2, 3):
        layer.threads = threads
        pooled, places = layer.pooled()
        layer.forward(unwritten(*layer.map_shape), pooling=layer.pooling(pooled, places))
        torch.testing.assert_close(pooled, expected, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(places, expected_places)


@pytest.mark.parametrize("n", [8, 20])
def test_without_places_the_pooled_map_is_the_same(n):
    layer = Layer(GEOMETRIES[0], n)
    expected, _ = layer.forward_apart()
    pooled, _ = layer.pooled()
    layer.forward(unwritten(*layer.map_shape), pooling=layer.pooling(pooled, None))
    assert torch.equal(pooled, expected)


@pytest.mark.parametrize("border", [0, 1])
@pytest.mark.parametrize("n", [2, 8, 9, 16, 35])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients_through_a_pooling_are_those_of_two_calls(geometry, n, border):
    layer = Layer(geometry, n, border=border)
    pooled, places = layer.forward_apart()
    expected = layer.backward_apart(pooled, places)
    found = layer.backward_together(pooled, places)
    for one, other, allowed in zip(found, expected, layer.allowed(), strict=True):
        assert ((one - other).abs() <= allowed).all()
    layer.threads = 3
    for one, other in zip(layer.backward_together(pooled, places), found, strict=True):
        assert torch.equal(one, other), "the bits depend on the number of threads"


@pytest.mark.parametrize("n", [8, 20])
def test_an_infinite_gradient_spreads_as_in_two_calls(n):
    layer = Layer(GEOMETRIES[0], n)
    pooled, places = layer.forward_apart()
    layer.grad_pooled[tuple((pooled > 0).nonzero()[0])] = math.inf
    expected = layer.backward_apart(pooled, places)
    for one, other in zip(layer.backward_together(pooled, places), expected, strict=True):
        spoilt = ~other.isfinite()
        assert spoilt.any()
        torch.testing.assert_close(one[spoilt], other[spoilt], rtol=0, atol=0, equal_nan=True)
        assert one[~spoilt].isfinite().all()
