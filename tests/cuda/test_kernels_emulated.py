"""Every CUDA pass against the float64 reference: the kernels' own source, run by the emulator.

The strategies are those of the CPU kernels. The emulator faults at any access out of bounds, unaligned or
unordered, so each case that passes says that too.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from sparsefit.conv import SparseConv2d, SparseLinear, from_blocked, to_blocked
from tests.conv.oracle import check, check_case, run
from tests.conv.test_kernels import BATCHES, LAYOUTS, PLAIN, cases, lay
from tests.cuda.emulated import emulated  # noqa: F401
from tests.tolerances import assert_within_rounding

pytestmark = pytest.mark.usefixtures("emulated")


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
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


SMALL = replace(PLAIN, c_in=3, c_out=4, size=(6, 5))


@pytest.mark.parametrize("n", [0, *BATCHES, 65])
def test_batches_around_the_lanes(n):
    check_case(replace(SMALL, n=n))


@pytest.mark.parametrize("c_out", [1, 15, 16, 17, 33])
def test_rows_around_the_warps_of_a_block(c_out):
    check_case(replace(SMALL, c_out=c_out, n=5))
    check_case(replace(SMALL, c_in=c_out, n=5))


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 1), (8, 8), (3, 11), (16, 17)])
def test_pixels_around_the_items_of_a_warp(size):
    check_case(replace(SMALL, size=size, n=17))


@pytest.mark.parametrize("kept", [0, 1, 3, 4, 5, 8, 9, 17, 31, 32, 33, 64, 72])
def test_kept_weights_of_a_row_around_the_groups(kept):
    case = replace(SMALL, c_in=8, c_out=3, n=9)
    conv, mask = case.conv(), torch.zeros(3, 8, 3, 3, dtype=torch.bool)
    mask[1].view(-1)[torch.randperm(72)[:kept]] = True
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse")
    x, grad = case.input(), torch.randn(9, 3, 6, 5)
    check(conv, mask, x, grad, run(layer, x, grad))
    check(conv, mask, x, grad, run(layer, x, grad, blocked=True))


@pytest.mark.parametrize("stride", [(2, 2), (3, 3), (1, 2), (3, 1), (4, 5)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_stride_with_and_without_a_rest(stride, kernel, size):
    check_case(replace(SMALL, stride=stride, kernel=kernel, size=size, n=5))


@pytest.mark.parametrize("padding", [(0, 0), (2, 2), (5, 4), (0, 6)])
def test_padding_up_to_and_past_the_kernel(padding):
    check_case(replace(SMALL, padding=padding, n=3))


@pytest.mark.parametrize("dilation", [(1, 2), (3, 3), (5, 5)])
def test_dilation(dilation):
    check_case(replace(SMALL, dilation=dilation, size=(13, 12), padding=(3, 4), n=3))


@pytest.mark.parametrize(("c_in", "c_out", "groups"), [(1, 1, 8), (1, 2, 7), (4, 4, 2), (3, 5, 3)])
def test_groups_and_depthwise(c_in, c_out, groups):
    check_case(replace(SMALL, c_in=c_in, c_out=c_out, groups=groups, density=0.5, n=5))


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_empty_and_full_layer(density):
    check_case(replace(SMALL, density=density, n=5))


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("n", [1, 8, 33, 130])
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (37, 10), (40, 65)])
def test_linear_matches_float64(n, c_in, c_out, blocked):
    torch.manual_seed(n)
    linear, mask = nn.Linear(c_in, c_out), torch.rand(c_out, c_in) < 0.3
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
