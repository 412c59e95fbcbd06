"""Every CUDA pass against the float64 reference: the kernels' own source, run by the emulator.

The strategies are those of the CPU kernels. The emulator faults at any access out of bounds, unaligned or
unordered, so each case that passes says that too.
"""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from sparsefit.conv import Blocked, SparseConv2d, SparseLinear, choices, from_blocked, to_blocked
from sparsefit.errors import CudaError, InputError
from tests.conv.oracle import Case, check, check_case, run
from tests.conv.test_kernels import BATCHES, LAYOUTS, PLAIN, cases, lay
from tests.cuda.emulated import emulated  # noqa: F401
from tests.tolerances import assert_within_rounding

pytestmark = pytest.mark.usefixtures("emulated")


@settings(
    max_examples=20,
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


@pytest.mark.parametrize("n", [0, *BATCHES])
def test_batches_around_the_lanes(n):
    check_case(replace(SMALL, n=n))


@pytest.mark.parametrize("c_out", [1, 15, 16, 17, 33])
def test_rows_around_the_warps_of_a_block(c_out):
    check_case(replace(SMALL, c_out=c_out, n=5))
    check_case(replace(SMALL, c_in=c_out, n=5))


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 1), (8, 8), (3, 11), (11, 13)])
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


@pytest.fixture
def machine(emulated):  # noqa: F811
    """Return the emulated core; order and size of the machine are put back afterwards."""
    yield emulated
    emulated.set_order(1)
    emulated.set_full_warps(4096)


def passes_of(case, blocked):
    """Return the four results of a case as one list."""
    layer = SparseConv2d.from_dense(case.conv(), case.mask(), backend="sparse")
    x = case.input()
    with torch.no_grad():
        shape = case.conv()(x).shape
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    got = run(layer, x, grad, blocked=blocked)
    return [got.forward, got.input, got.values.clone(), got.bias.clone()]


ORDERED = {
    "plain": Case(n=9, c_in=6, c_out=5, size=(7, 6), density=0.5),
    "strided": Case(n=17, c_in=3, c_out=4, size=(9, 8), stride=(2, 2), density=0.5),
    "depthwise": Case(n=5, c_in=1, c_out=1, groups=12, size=(8, 8), density=0.7),
    "sliced": Case(n=33, c_in=2, c_out=2, size=(16, 16), density=0.3),
}


@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
@pytest.mark.parametrize("name", ORDERED)
def test_bits_do_not_depend_on_the_order_of_blocks_and_threads(machine, name, blocked):
    first = None
    for seed in (0, 1, 12345):
        machine.set_order(seed)
        results = passes_of(ORDERED[name], blocked)
        first = first or results
        assert all(torch.equal(a, b) for a, b in zip(first, results, strict=True))


@pytest.mark.parametrize("warps", [1, 8, 30, 64, 128])
@pytest.mark.parametrize("name", ORDERED)
def test_a_thread_with_one_to_eight_items_gives_the_same(machine, name, warps):
    want = passes_of(ORDERED[name], True)
    machine.set_full_warps(warps)
    check_case(ORDERED[name])
    got = passes_of(ORDERED[name], True)
    # Forward and the gradient to the input add in the order of the weights, whatever a thread takes.
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


def test_rows_are_ordered_by_their_kept_weights_within_a_group():
    mask = torch.zeros(6, 2, 1, 2, dtype=torch.bool)
    for row, kept in enumerate([1, 3, 2, 0, 4, 4]):
        mask[row].view(-1)[:kept] = True
    layer = SparseConv2d.from_dense(nn.Conv2d(4, 6, (1, 2), groups=2), mask)
    order, transposed = layer.pattern[-10:-4].tolist(), layer.pattern[-4:].tolist()
    assert order == [1, 2, 0, 4, 5, 3]
    assert sorted(transposed[:2]) == [0, 1]
    assert sorted(transposed[2:]) == [2, 3]


def test_a_chain_stays_in_the_blocks():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=1)
    layer = SparseConv2d.from_dense(conv, torch.rand(conv.weight.shape) < 0.5, backend="sparse")
    twin = copy.deepcopy(layer).to_dense()
    x = torch.randn(3, 3, 8, 8)
    inside = functional.relu(layer(to_blocked(x)))
    inside = functional.max_pool2d(inside + inside, 2)
    assert inside.lanes == 4
    got = from_blocked(functional.adaptive_avg_pool2d(inside, 1).flatten())
    want = functional.max_pool2d(2 * functional.relu(twin(x)), 2).mean((2, 3))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)  # sums of 27 terms of size one


def test_blocks_of_one_or_two_lanes_are_refused():
    layer = SparseConv2d.from_dense(SMALL.conv(), SMALL.mask(), backend="sparse")
    with pytest.raises(InputError, match="has 4, 8 or 16 lanes, got 2: call to_blocked after moving"):
        layer(Blocked(torch.zeros(1, 3, 6, 5, 2), 2))


def test_auto_goes_by_density_and_tf32_and_says_so(backend, machine, monkeypatch):
    backend("auto")
    for density, allowed, chosen in [(0.1, False, "sparse"), (0.1, True, "dense"), (0.5, False, "dense")]:
        monkeypatch.setattr("sparsefit.conv.cuda.uses_tf32", lambda _, allowed=allowed: allowed)
        case = replace(SMALL, density=density, c_in=30, c_out=30)
        layer = SparseConv2d.from_dense(case.conv(), case.mask())
        with torch.no_grad():
            layer(case.input())
        made = choices()[-1]
        assert made.backend == chosen
        assert made.sparse_seconds is None
        assert str(made).endswith(f"{chosen} (by its density)")


def test_float64_goes_to_the_reference():
    layer = SparseConv2d.from_dense(SMALL.conv().double(), SMALL.mask(), backend="sparse")
    x = SMALL.input().double()
    torch.testing.assert_close(layer(x), layer.to_dense()(x), rtol=1e-12, atol=1e-12)


def test_a_build_without_cuda_says_so(machine, monkeypatch):
    reason = "this build has no CUDA kernels"
    monkeypatch.setattr(machine, "cuda_architectures", list)
    monkeypatch.setattr(machine, "cuda_unavailable", lambda: reason, raising=False)
    monkeypatch.setattr("sparsefit.conv.dispatch.load_core", lambda: machine)
    layer = SparseConv2d.from_dense(SMALL.conv(), SMALL.mask(), backend="sparse")
    with pytest.raises(CudaError, match=f"backend='sparse' on cpu: {reason}.*SPARSEFIT_CUDA=1 pip install"):
        layer(SMALL.input())
    layer.backend = "auto"
    layer(SMALL.input())  # by the reference
