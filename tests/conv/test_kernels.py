"""Every pass of the kernels against the float64 reference, strided and blocked."""

import os
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from sparsefit.conv import SparseConv2d, SparseLinear, from_blocked, to_blocked
from tests.conv.oracle import Case, check, check_case, run
from tests.tolerances import assert_within_rounding

BATCHES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33]
KERNELS = [(1, 1), (3, 3), (5, 5), (7, 7), (1, 3), (3, 1), (2, 4), (5, 2)]


@st.composite
def cases(draw):
    """Draw a convolution whose kernel fits; odd sizes, height and width apart."""
    kernel = draw(st.sampled_from(KERNELS))
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    if stride == (1, 1) and draw(st.booleans()):
        padding = draw(st.sampled_from(["same", "valid"]))
    else:
        padding = (draw(st.integers(0, kernel[0])), draw(st.integers(0, kernel[1])))
    edges = padding if isinstance(padding, tuple) else (0, 0)
    size = []
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        shortest = 1 if padding == "same" else max(1, reach - 2 * edges[axis])
        size.append(draw(st.integers(shortest, shortest + 12)))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return Case(
        n=draw(st.sampled_from(BATCHES)),
        c_in=draw(st.integers(1, 6)),
        c_out=draw(st.integers(1, 9)),
        size=tuple(size),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        density=draw(st.sampled_from([0.02, 0.1, 0.5, 0.9, 1.0])),
        bias=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


def lay(x, layout):
    """Return the same numbers in another layout."""
    if layout == "channels_last":
        return x.to(memory_format=torch.channels_last)
    if layout == "sliced":
        big = torch.full((x.shape[0], x.shape[1] + 2, x.shape[2] + 1, x.shape[3] + 3), float("nan"))
        big[:, 1:-1, 1:, 2:-1] = x
        return big[:, 1:-1, 1:, 2:-1]
    if layout == "transposed":
        return x.transpose(0, 3).contiguous().transpose(0, 3)
    if layout == "misaligned":
        return torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)
    return x


LAYOUTS = ["contiguous", "channels_last", "sliced", "transposed", "misaligned"]


# A forced instruction set means a repetition of the tests: fewer draws do.
EXAMPLES = 12 if os.environ.get("SPARSEFIT_FORCE_ISA") else 60


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.data_too_large]
)
@given(case=cases(), layout=st.sampled_from(LAYOUTS), grad_layout=st.sampled_from(LAYOUTS))
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_every_pass_matches_float64_for_any_shape_and_layout(case, layout, grad_layout):
    conv, mask = case.conv(), case.mask()
    x = lay(case.input(), layout)
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse")
    with torch.no_grad():
        shape = conv(x).shape
    grad = lay(torch.randn(shape, generator=torch.Generator().manual_seed(case.seed)), grad_layout)
    check(conv, mask, x, grad, run(layer, x, grad))
    check(conv, mask, x, grad, run(layer, x, grad, blocked=True))


# The edges of the tiles: a batch against the lanes, a row against the register tile, channels against the
# blocks of channels, the kept weights of a row against the groups of weights.

PLAIN = Case(n=16, c_in=8, c_out=8, size=(14, 14), density=0.3)


@pytest.mark.parametrize("n", BATCHES)
def test_forward_and_gradients_match_when_batch_is_around_the_lanes(n):
    check_case(replace(PLAIN, n=n, size=(6, 5)))


@pytest.mark.parametrize("width", [*range(1, 18), 27, 28, 29, 31])
def test_row_shorter_equal_and_longer_than_the_tile(width):
    check_case(replace(PLAIN, size=(3, width), c_in=3, c_out=3, n=17))


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 7])
def test_rows_fewer_equal_and_more_than_the_tile(height):
    check_case(replace(PLAIN, size=(height, 14), c_in=3, c_out=3))


@pytest.mark.parametrize("c_in", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33])
def test_input_channels_around_the_block(c_in):
    check_case(replace(PLAIN, c_in=c_in, size=(5, 6), c_out=4))


@pytest.mark.parametrize("c_out", [1, 2, 3, 5, 7, 8, 9, 16, 17, 33])
def test_output_channels_around_the_block(c_out):
    check_case(replace(PLAIN, c_out=c_out, size=(5, 6), c_in=4))


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 72])
def test_kept_weights_of_a_row_around_the_group(kept):
    case = replace(PLAIN, size=(6, 7), c_out=3, n=9)
    conv, mask = case.conv(), torch.zeros(3, 8, 3, 3, dtype=torch.bool)
    mask[1].view(-1)[torch.randperm(72)[:kept]] = True
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse")
    x, grad = case.input(), torch.randn(9, 3, 6, 7)
    check(conv, mask, x, grad, run(layer, x, grad))
    check(conv, mask, x, grad, run(layer, x, grad, blocked=True))


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 3), (1, 2), (3, 1)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (10, 11)])
def test_stride_with_and_without_a_rest(stride, kernel, size):
    check_case(replace(PLAIN, stride=stride, kernel=kernel, size=size, c_in=3, c_out=4, n=5))


@pytest.mark.parametrize("padding", [(0, 0), (2, 2), (3, 3), (5, 4), (0, 6)])
def test_padding_up_to_and_past_the_kernel(padding):
    check_case(replace(PLAIN, padding=padding, size=(6, 5), n=3))


@pytest.mark.parametrize("dilation", [(1, 2), (2, 1), (3, 3), (5, 5)])
def test_dilation(dilation):
    check_case(replace(PLAIN, dilation=dilation, size=(13, 12), padding=(3, 4), n=3))


@pytest.mark.parametrize(("c_in", "c_out", "groups"), [(1, 1, 8), (1, 2, 7), (4, 4, 2), (3, 5, 3)])
def test_groups_and_depthwise(c_in, c_out, groups):
    check_case(replace(PLAIN, c_in=c_in, c_out=c_out, groups=groups, density=0.5, n=5))


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_empty_and_full_layer(density):
    check_case(replace(PLAIN, density=density, n=5))


def test_one_kept_weight():
    case = replace(PLAIN, n=5)
    conv, mask = case.conv(), torch.zeros(8, 8, 3, 3, dtype=torch.bool)
    mask[3, 5, 0, 2] = True
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse")
    x, grad = case.input(), torch.randn(5, 8, 14, 14)
    check(conv, mask, x, grad, run(layer, x, grad))


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("n", [1, 3, 8, 16, 33, 130])
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (37, 10), (128, 65)])
def test_linear_matches_float64(n, c_in, c_out, blocked):
    torch.manual_seed(n)
    linear = nn.Linear(c_in, c_out)
    mask = torch.rand(c_out, c_in) < 0.3
    layer = SparseLinear.from_dense(linear, mask, backend="sparse")
    x, grad = torch.randn(n, c_in, requires_grad=True), torch.randn(n, c_out)
    y = from_blocked(layer(to_blocked(x))) if blocked else layer(x)
    y.backward(grad)
    weight, x64, g64 = (linear.weight * mask).double(), x.detach().double(), grad.double()
    assert_within_rounding(
        y, x64 @ weight.t() + linear.bias.double(), x64.abs() @ weight.abs().t() + linear.bias.abs(), c_in + 1
    )
    assert_within_rounding(x.grad, g64 @ weight, g64.abs() @ weight.abs(), c_out)
    assert_within_rounding(layer.values.grad, (g64.t() @ x64)[mask], (g64.abs().t() @ x64.abs())[mask], n)
    assert_within_rounding(layer.bias.grad, g64.sum(0), g64.abs().sum(0), n)


def test_a_layer_of_real_size_matches_float64():
    check_case(Case(n=33, c_in=64, c_out=64, size=(16, 16), density=0.1))
