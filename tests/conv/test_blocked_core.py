"""The operations of the compiled core on blocked tensors, against torch."""

import itertools
import math
import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

_core = pytest.importorskip("sparsefit._core", reason="needs the compiled core")

# (n, channels, height, width): batch tails for every number of lanes, one pixel, one channel, odd sizes.
SIZES = [
    (1, 3, 5, 7), (2, 1, 8, 8), (3, 5, 4, 6), (7, 2, 9, 3), (8, 4, 1, 1), (15, 17, 6, 5), (16, 3, 12, 12),
    (17, 2, 5, 4), (33, 6, 3, 70), (40, 64, 1, 1),
]  # fmt: skip
# kernel, stride, padding, each (height, width)
POOLS = [
    ((2, 2), (2, 2), (0, 0)),
    ((3, 3), (2, 2), (1, 1)),
    ((3, 2), (1, 3), (1, 0)),
    ((2, 2), (3, 3), (0, 0)),
    ((1, 1), (1, 1), (0, 0)),
]
LAYOUTS = ["NCHW", "channels_last", "sliced", "expanded", "transposed"]
THREADS = 2


def lanes_of(n):
    return next((lanes for lanes in (1, 2, 4, 8) if n <= lanes), 16)


def blocked_shape(x, lanes):
    n, channels, height, width = x.shape
    return _core.Blocked(n=n, channels=channels, height=height, width=width, lanes=lanes)


def to_blocks(x, lanes):
    blocks = -(-x.shape[0] // lanes)
    padded = functional.pad(x, (0, 0, 0, 0, 0, 0, 0, blocks * lanes - x.shape[0]))
    return padded.reshape(blocks, lanes, *x.shape[1:]).permute(0, 2, 3, 4, 1).contiguous()


def from_blocks(data, n):
    full = data.permute(0, 4, 1, 2, 3).flatten(0, 1)
    assert not full[n:].count_nonzero(), "lanes past N must be zero"
    return full[:n]


def unwritten(*shape, dtype=torch.float32):
    """A result that no one has written yet: NaN, so that a place left out is seen."""
    return torch.full(shape, float("nan") if dtype.is_floating_point else 255, dtype=dtype)


def random(*shape):
    # Few different values: ties are common.
    return torch.randint(-4, 5, shape).float() / 2


def laid_out(x, layout):
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        return functional.pad(x, (1, 2, 3, 1))[:, :, 3:-1, 1:-2]
    if layout == "transposed":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    if layout == "expanded":
        return x[:1].expand(x.shape)
    return x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", SIZES)
def test_conversion_is_exact_from_and_to_any_strides(size, layout):
    x = laid_out(torch.randn(size), layout)
    lanes = lanes_of(size[0])
    exact = to_blocks(x, lanes)
    data = unwritten(*exact.shape)
    shape = blocked_shape(x, lanes)
    _core.to_blocked(shape, _core.Operand(x.data_ptr(), strides=x.stride()), data.data_ptr(), THREADS)
    assert torch.equal(data, exact)
    if layout != "expanded":
        back = laid_out(unwritten(*size), layout)
        _core.from_blocked(
            shape, data.data_ptr(), _core.Operand(back.data_ptr(), strides=back.stride()), THREADS
        )
        assert torch.equal(back, x)


@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_of_a_relu_equals_torch_bit_for_bit(size):
    lanes = lanes_of(size[0])
    output, grad = random(*size).relu(), random(*size)
    output[0, 0, 0, 0] = float("nan")
    data, blocks = to_blocks(output, lanes), to_blocks(grad, lanes)
    shape = blocked_shape(output, lanes)
    for into in (unwritten(*blocks.shape), blocks):  # the last may be overwritten
        _core.relu_backward(shape, data.data_ptr(), blocks.data_ptr(), into.data_ptr(), THREADS)
        assert torch.equal(from_blocks(into, size[0]), torch.where(output <= 0, 0, grad))


def pool_cases():
    cases = []
    for size, (kernel, stride, padding) in itertools.product(SIZES, POOLS):
        out = [(size[2 + d] + 2 * padding[d] - kernel[d]) // stride[d] + 1 for d in (0, 1)]
        if min(out) >= 1:
            cases.append((size, kernel, stride, padding, out))
    return cases


def core_pool(kernel, stride, padding, out):
    return _core.Pool(
        kernel_h=kernel[0], kernel_w=kernel[1], stride_h=stride[0], stride_w=stride[1],
        pad_top=padding[0], pad_left=padding[1], h_out=out[0], w_out=out[1],
    )  # fmt: skip


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "out"), pool_cases())
def test_max_pool_equals_torch_with_ties_and_nan(size, kernel, stride, padding, out, fused):
    n, channels = size[:2]
    lanes = lanes_of(n)
    x, bias = random(*size), random(channels)
    x[0, 0, 0, 0] = x[-1, -1, -1, -1] = float("nan")
    x[:, :, 0, -1] = -float("inf")
    x.requires_grad_()
    bias.requires_grad_()
    y = functional.max_pool2d((x + bias.view(-1, 1, 1)).relu() if fused else x, kernel, stride, padding)
    g = random(*y.shape)
    # The bias is left out of max_pool: its gradient must not be asked for.
    exact = torch.autograd.grad(y, [x, bias] if fused else [x], g)

    shape, pool = blocked_shape(x, lanes), core_pool(kernel, stride, padding, out)
    data, grad = to_blocks(x.detach(), lanes), to_blocks(g, lanes)
    output, grad_input = unwritten(*grad.shape), unwritten(*data.shape)
    places, grad_bias = unwritten(*grad.shape, dtype=torch.uint8), unwritten(channels)
    at = [tensor.data_ptr() for tensor in (data, output, places, grad, grad_input)]
    if fused:
        _core.bias_relu_max_pool(shape, pool, at[0], bias.data_ptr(), at[1], at[2], THREADS)
        _core.bias_relu_max_pool_backward(
            shape, pool, at[1], at[3], at[2], at[4], grad_bias.data_ptr(), THREADS
        )
        # Halves: every sum is exact, in any order.
        torch.testing.assert_close(grad_bias, exact[1], rtol=0, atol=0)
    else:
        _core.max_pool(shape, pool, at[0], at[1], at[2], THREADS)
        _core.max_pool_backward(shape, pool, at[3], at[2], at[4], THREADS)
    torch.testing.assert_close(from_blocks(output, n), y.detach(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(from_blocks(grad_input, n), exact[0], rtol=0, atol=0)


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "out"), pool_cases())
def test_average_pool_equals_torch(size, kernel, stride, padding, out):
    lanes = lanes_of(size[0])
    x = torch.randn(size, dtype=torch.float64, requires_grad=True)
    y = functional.avg_pool2d(x, kernel, stride, padding)
    g = torch.randn_like(y)
    (exact,) = torch.autograd.grad(y, x, g)
    shape, pool = blocked_shape(x, lanes), core_pool(kernel, stride, padding, out)
    data, grad = to_blocks(x.detach().float(), lanes), to_blocks(g.float(), lanes)
    output, grad_input = unwritten(*grad.shape), unwritten(*data.shape)
    _core.average_pool(shape, pool, data.data_ptr(), output.data_ptr(), THREADS)
    _core.average_pool_backward(shape, pool, grad.data_ptr(), grad_input.data_ptr(), THREADS)
    # Sums of at most nine terms of size one.
    torch.testing.assert_close(from_blocks(output, size[0]).double(), y.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(from_blocks(grad_input, size[0]).double(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_global_average_pool_equals_torch(size):
    lanes = lanes_of(size[0])
    x, g = torch.randn(size), torch.randn(*size[:2], 1, 1)
    shape, data, grad = blocked_shape(x, lanes), to_blocks(x, lanes), to_blocks(g, lanes)
    output, grad_input = unwritten(*grad.shape), unwritten(*data.shape)
    _core.global_average_pool(shape, data.data_ptr(), output.data_ptr(), THREADS)
    _core.global_average_pool_backward(shape, grad.data_ptr(), grad_input.data_ptr(), THREADS)
    pixels = size[2] * size[3]
    # Sums of at most 210 terms of size one, divided by their number.
    exact = x.double().mean((2, 3), keepdim=True)
    torch.testing.assert_close(from_blocks(output, size[0]).double(), exact, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(from_blocks(grad_input, size[0]), (g / pixels).expand(size), rtol=1e-6, atol=0)


@pytest.mark.skipif("SPARSEFIT_FORCE_ISA" in os.environ, reason="runs inside the test that forces one")
@pytest.mark.parametrize("isa", _core.isas()[1:])
def test_every_instruction_set_passes(isa):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, "SPARSEFIT_FORCE_ISA": isa}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("size", [(1, 10), (2, 10), (7, 3), (16, 10), (33, 1), (40, 100)])
def test_cross_entropy_and_its_gradient_equal_those_of_float64(size):
    logits = (4 * torch.randn(size)).requires_grad_()
    labels = torch.randint(0, size[1], size[:1])
    exact = functional.cross_entropy(logits.double(), labels, reduction="sum") / 50
    exact.backward()
    images = logits.detach()[:, :, None, None]
    lanes = lanes_of(size[0])
    data = to_blocks(images, lanes)
    grad = unwritten(*data.shape)
    shape = blocked_shape(images, lanes)
    loss = _core.cross_entropy(shape, data.data_ptr(), labels.data_ptr(), 50.0, grad.data_ptr())
    # Each example's loss is rounded to float a few times, relative to logits of about 10.
    assert loss == pytest.approx(exact.item(), rel=1e-6, abs=1e-6 * size[0])
    torch.testing.assert_close(from_blocks(grad, size[0])[:, :, 0, 0], logits.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 2])
def test_cross_entropy_of_logits_that_are_not_finite_is_not_finite(value, place):
    logits, labels = torch.zeros(1, 3, 1, 1), torch.tensor([1])
    logits[0, place] = value
    grad = unwritten(*logits.shape)
    shape = blocked_shape(logits, 1)
    assert not math.isfinite(
        _core.cross_entropy(shape, logits.data_ptr(), labels.data_ptr(), 1.0, grad.data_ptr())
    )


@pytest.mark.parametrize("label", [-1, 3])
def test_cross_entropy_refuses_a_label_that_is_no_class(label):
    logits, labels, grad = torch.zeros(1, 3, 1, 1), torch.tensor([label]), torch.zeros(1, 3, 1, 1)
    with pytest.raises(IndexError, match=f"label {label} is none of 3 classes"):
        _core.cross_entropy(
            blocked_shape(logits, 1), logits.data_ptr(), labels.data_ptr(), 1.0, grad.data_ptr()
        )
