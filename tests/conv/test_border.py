"""Blocked operands with a border of zeros: the numbers of those without, and a border that no one writes."""

import pytest
import torch
from torch.nn import functional

from tests.conv.test_blocked_core import lanes_of, to_blocks

_core = pytest.importorskip("sparsefit._core", reason="needs the compiled core")

UNTOUCHED = 7.0
# c_in, c_out, height, width, kernel, stride, padding, dilation
GEOMETRIES = [
    (4, 6, 9, 8, 3, 1, 1, 1),
    (32, 16, 8, 8, 3, 1, 1, 1),
    (3, 5, 12, 10, 5, 1, 2, 1),
    (4, 6, 9, 8, 3, 2, 1, 1),
    (4, 6, 10, 9, 3, 1, 2, 2),
    (5, 4, 8, 12, 5, 1, 0, 1),
    (8, 4, 6, 6, 1, 1, 0, 1),
    (8, 4, 1, 1, 1, 1, 0, 1),
]


def bordered(blocks, border, value):
    """Blocks in the middle of larger ones whose border holds `value`; the inner view, and the whole."""
    whole = functional.pad(blocks, (0, 0, *(border,) * 4), value=value).contiguous()
    height, width = whole.shape[2:4]
    return whole[:, :, border : height - border, border : width - border], whole


@pytest.mark.parametrize("border", [1, 2])
@pytest.mark.parametrize("n", [1, 3, 8, 16, 20])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_passes_on_operands_with_a_border_give_the_same_bits(geometry, n, border):
    c_in, c_out, height, width, kernel, stride, padding, dilation = geometry
    torch.manual_seed(0)
    lanes = lanes_of(n)
    mask = torch.rand(c_out, c_in, kernel, kernel) < 0.4
    values, bias = torch.randn(int(mask.sum())), torch.randn(c_out)
    pattern = torch.from_numpy(_core.pack(mask.numpy(), 1))
    x = torch.randn(n, c_in, height, width)
    h_out, w_out = (
        (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for side in (height, width)
    )
    g = torch.randn(n, c_out, h_out, w_out)
    conv = _core.Conv(
        n=n, c_in=c_in, h_in=height, w_in=width, c_out=c_out, h_out=h_out, w_out=w_out, kh=kernel, kw=kernel,
        stride_h=stride, stride_w=stride, pad_top=padding, pad_left=padding,
        dilation_h=dilation, dilation_w=dilation,
    )  # fmt: skip

    def passes(border):
        def operand(blocks, value):
            inner, whole = bordered(blocks, border, value)
            return inner, whole, _core.Operand(whole.data_ptr(), lanes=lanes, border=border)

        _, x_whole, x_at = operand(to_blocks(x, lanes), 0.0)
        _, g_whole, g_at = operand(to_blocks(g, lanes), 0.0)
        y, y_whole, y_at = operand(torch.zeros_like(to_blocks(g, lanes)), UNTOUCHED)
        gx, gx_whole, gx_at = operand(torch.zeros_like(to_blocks(x, lanes)), UNTOUCHED)
        gw, gb = torch.empty_like(values), torch.empty_like(bias)
        at, where = pattern.data_ptr(), values.data_ptr()
        _core.forward(conv, x_at, where, bias.data_ptr(), at, y_at, 2)
        _core.backward_input(conv, g_at, where, at, gx_at, 2)
        _core.backward_weight(conv, x_at, g_at, at, gw.data_ptr(), gb.data_ptr(), 2)
        for inner, whole in ((y, y_whole), (gx, gx_whole)):
            inner_before = inner.clone()
            inner.fill_(UNTOUCHED)
            assert (whole == UNTOUCHED).all(), "a border was written"
            inner.copy_(inner_before)
        assert x_whole.count_nonzero() == x.count_nonzero()
        assert g_whole.count_nonzero() == g.count_nonzero()
        return y.clone(), gx.clone(), gw, gb

    for name, expected, actual in zip(
        ("output", "grad_input", "grad_values", "grad_bias"), passes(0), passes(border), strict=True
    ):
        # Where a tap row falls may change the kernel (backward_input of a convolution without padding).
        torch.testing.assert_close(
            actual, expected, rtol=1e-5, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("n", [2, 16, 19])
def test_blocked_operations_leave_a_border_out(n):
    torch.manual_seed(0)
    lanes, border = lanes_of(n), 1
    x = torch.randn(n, 3, 6, 8)
    shape = _core.Blocked(n=n, channels=3, height=6, width=8, lanes=lanes, border=border)
    inner, whole = bordered(torch.zeros_like(to_blocks(x, lanes)), border, 0.0)
    _core.to_blocked(shape, _core.Operand(x.data_ptr(), strides=x.stride()), whole.data_ptr(), 1)
    assert torch.equal(inner, to_blocks(x, lanes))
    assert whole.count_nonzero() == inner.count_nonzero()

    back = torch.empty_like(x)
    _core.from_blocked(shape, whole.data_ptr(), _core.Operand(back.data_ptr(), strides=back.stride()), 1)
    assert torch.equal(back, x)

    pool = _core.Pool(kernel_h=2, kernel_w=2, stride_h=2, stride_w=2, h_out=3, w_out=4)
    for function, expected in (
        (_core.average_pool, functional.avg_pool2d(x, 2)),
        (_core.max_pool, functional.max_pool2d(x, 2)),
    ):
        out = torch.empty_like(to_blocks(expected, lanes))
        places = torch.empty(out.shape, dtype=torch.uint8)
        rest = (places.data_ptr(),) if function is _core.max_pool else ()
        function(shape, pool, whole.data_ptr(), out.data_ptr(), *rest, 1)
        torch.testing.assert_close(out, to_blocks(expected, lanes))

    mean = torch.empty(*whole.shape[:2], 1, 1, lanes)
    _core.global_average_pool(shape, whole.data_ptr(), mean.data_ptr(), 1)
    torch.testing.assert_close(mean, to_blocks(x.mean((2, 3), keepdim=True), lanes))

    for backward, spread in ((_core.average_pool_backward, 4), (_core.global_average_pool_backward, 48)):
        sides = (3, 4) if spread == 4 else (1, 1)
        gradient = torch.randn(n, 3, *sides)
        blocks = to_blocks(gradient, lanes)
        into = torch.zeros_like(whole)
        arguments = (pool,) if spread == 4 else ()
        backward(shape, *arguments, blocks.data_ptr(), into.data_ptr(), 1)
        expected = functional.interpolate(gradient / spread, size=(6, 8), mode="nearest")
        torch.testing.assert_close(into, bordered(to_blocks(expected, lanes), border, 0.0)[1])


def test_a_strided_operand_has_no_border():
    with pytest.raises(ValueError, match="only a blocked operand has a border"):
        _core.Operand(0, strides=(1, 1, 1, 1), border=1)


@pytest.mark.parametrize("n", [2, 8, 16])
def test_one_pixel_with_padding_is_no_linear_layer(n):
    """Stride 3 and padding 1 put the only tap beside the only pixel: the output is the bias."""
    values, bias, x = torch.ones(1), torch.tensor([2.0]), torch.full((n, 1, 1, 1), 5.0)
    pattern = torch.from_numpy(_core.pack(torch.ones(1, 1, 1, 1, dtype=torch.bool).numpy(), 1))
    conv = _core.Conv(
        n=n, c_in=1, h_in=1, w_in=1, c_out=1, h_out=1, w_out=1, kh=1, kw=1,
        stride_h=3, stride_w=3, pad_top=1, pad_left=1,
    )  # fmt: skip
    y = torch.empty(n, 1, 1, 1)
    x_at, y_at = (_core.Operand(t.data_ptr(), strides=t.stride()) for t in (x, y))
    _core.forward(conv, x_at, values.data_ptr(), bias.data_ptr(), pattern.data_ptr(), y_at, 1)
    assert (y == 2).all()
