"""Every CUDA pass against the float64 reference: the kernels' own source, run by the emulator.

The cases are those of the CPU kernels. The emulator faults at any access out of bounds, unaligned or
unordered, so each case that passes says that too.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sparsefit.conv import Blocked, SparseConv2d, choices
from sparsefit.errors import CudaError, InputError
from tests.conv import nonfinite
from tests.conv.oracle import Case, check_case, check_chain, check_linear, run
from tests.conv.strategies import EDGES, LINEAR, drawn
from tests.cuda.emulated import emulated  # noqa: F401

pytestmark = pytest.mark.usefixtures("emulated")
SMALL = Case(n=16, c_in=3, c_out=4, size=(6, 5), density=0.3)


@drawn(20)
def test_every_pass_matches_float64_for_any_shape_and_layout(case, layout, grad_layout):
    check_case(case, layout, grad_layout)


@pytest.mark.parametrize("edge", EDGES)
def test_every_pass_matches_float64_at_the(edge):
    check_case(EDGES[edge])


@pytest.mark.parametrize(("n", "sizes", "blocked"), LINEAR)
def test_linear_matches_float64(n, sizes, blocked):
    check_linear(n, *sizes, blocked)


@pytest.mark.parametrize("spoilt", nonfinite.SPOILT)
@pytest.mark.parametrize("case", nonfinite.CASES)
def test_nonfinite_numbers_spread_no_further_than_by_definition(case, spoilt):
    nonfinite.check_nonfinite(case, spoilt)


@pytest.fixture
def machine(emulated):  # noqa: F811
    """Return the emulated core; order and size of the machine are put back afterwards."""
    yield emulated
    emulated.set_order(1)
    emulated.set_full_warps(4096)


def passes_of(case, blocked):
    """Return the four results of a case as one list."""
    layer = SparseConv2d.from_dense(case.conv(), case.mask(), backend="sparse")
    got = run(layer, case.input(), case.gradient(), blocked=blocked)
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


@pytest.mark.parametrize("warps", [1, 30, 128])
def test_nonfinite_numbers_are_found_whatever_a_thread_takes(machine, warps):
    machine.set_full_warps(warps)
    for spoilt in nonfinite.SPOILT:
        nonfinite.check_nonfinite("several tiles", spoilt)


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
    check_chain()


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


def test_a_device_without_kernels_says_so_and_auto_takes_torch(machine, monkeypatch):
    reason = "this build has no CUDA kernels"
    monkeypatch.setattr("sparsefit.conv.cuda.missing", lambda core, device: reason)
    monkeypatch.setattr("sparsefit.conv.dispatch.load_core", lambda: machine)
    layer = SparseConv2d.from_dense(SMALL.conv(), SMALL.mask(), backend="sparse")
    with pytest.raises(CudaError, match=f"backend='sparse' on cpu: {reason}.*SPARSEFIT_CUDA=1 pip install"):
        layer(SMALL.input())
    layer.backend = "auto"
    layer(SMALL.input())  # by the reference
