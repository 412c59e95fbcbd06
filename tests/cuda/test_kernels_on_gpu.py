"""The CUDA kernels on a GPU: the cases of the CPU kernels, and what only a device can show.

Skipped where there is none; no GPU run has taken place yet.
"""

import copy

import pytest
import torch

from sparsefit.conv import SparseConv2d, from_blocked, to_blocked
from sparsefit.conv.cuda import missing
from sparsefit.conv.kernels import load_core
from tests.conv import nonfinite
from tests.conv.oracle import Case, Passes, check_case, check_chain, check_linear, run
from tests.conv.strategies import EDGES, LINEAR, drawn

MISSING = missing(load_core(), 0) if torch.cuda.is_available() else "torch sees no CUDA device"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(MISSING), reason=f"no GPU: {MISSING}")]
CASE = Case(n=33, c_in=8, c_out=12, size=(14, 13), density=0.2)


def on_gpu(case):
    """Return a layer, its input and a gradient to its output on the GPU."""
    layer = SparseConv2d.from_dense(case.conv(), case.mask(), backend="sparse").to("cuda")
    return layer, case.input().to("cuda"), case.gradient().to("cuda")


@drawn(60)
def test_every_pass_matches_float64_for_any_shape_and_layout(case, layout, grad_layout):
    check_case(case, layout, grad_layout, device="cuda")


@pytest.mark.parametrize("edge", EDGES)
def test_every_pass_matches_float64_at_the(edge):
    check_case(EDGES[edge], device="cuda")


@pytest.mark.parametrize(("n", "sizes", "blocked"), LINEAR)
def test_linear_matches_float64(n, sizes, blocked):
    check_linear(n, *sizes, blocked, device="cuda")


@pytest.mark.parametrize("spoilt", nonfinite.SPOILT)
@pytest.mark.parametrize("case", nonfinite.CASES)
def test_nonfinite_numbers_spread_no_further_than_by_definition(case, spoilt):
    nonfinite.check_nonfinite(case, spoilt, device="cuda")


@pytest.mark.parametrize("n", [16, 256])
def test_layers_of_real_size_match_float64(n):
    check_case(Case(n=n, c_in=64, c_out=64, size=(16, 16), density=0.1), device="cuda")


def test_a_chain_stays_in_the_blocks():
    check_chain("cuda")


@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
def test_bits_do_not_depend_on_the_run(blocked):
    layer, x, grad = on_gpu(CASE)
    first = run(layer, x, grad, blocked=blocked)
    first = Passes(first.forward, first.input, first.values.clone(), first.bias.clone())
    for _ in range(3):
        again = run(layer, x, grad, blocked=blocked)
        assert torch.equal(first.forward, again.forward)
        assert torch.equal(first.input, again.input)
        assert torch.equal(first.values, again.values)
        assert torch.equal(first.bias, again.bias)


def test_kernels_keep_the_order_of_the_current_stream():
    layer, x, _ = on_gpu(CASE)
    want = layer(x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.no_grad():
        late = torch.zeros_like(x)
        torch.cuda._sleep(50_000_000)  # what follows must wait for it
        late.copy_(x)
        got = layer(late)
        late.zero_()
    torch.cuda.current_stream().wait_stream(stream)
    assert torch.equal(got, want)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_layer_runs_on_its_own_device_and_leaves_the_current_one():
    torch.cuda.set_device(0)
    check_case(CASE, device="cuda:1")
    assert torch.cuda.current_device() == 0
    assert torch.zeros(1, device="cuda").device.index == 0
    check_case(CASE, device="cuda:0")


def test_a_graph_captures_all_passes():
    layer, x, grad = on_gpu(CASE)
    want = run(layer, x, grad)
    values = want.values.clone()
    static = x.detach().clone().requires_grad_()
    warm = torch.cuda.Stream()
    warm.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm):
        torch.autograd.grad(layer(static), (static, layer.values), grad)
    torch.cuda.current_stream().wait_stream(warm)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = layer(static)
        grad_x, grad_values = torch.autograd.grad(y, (static, layer.values), grad)
    with torch.no_grad():
        static.zero_()
        graph.replay()
        static.copy_(x)
    graph.replay()
    assert torch.equal(y, want.forward)
    assert torch.equal(grad_x, want.input)
    assert torch.equal(grad_values, values)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_leaves_a_layer_in_the_dtype_of_its_values(dtype):
    layer, x, _ = on_gpu(CASE)
    want = layer(x)
    with torch.autocast("cuda", dtype):
        assert torch.equal(layer(x), want)
        half = layer(x.to(dtype))
    assert half.dtype == torch.float32
    assert torch.equal(half, layer(x.to(dtype).float()))


def test_no_pass_waits_for_the_device():
    layer, x, grad = on_gpu(CASE)
    run(layer, x, grad)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run(layer, x, grad)
        run(layer, x, grad, blocked=True)
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_a_layer_moves_to_the_gpu_and_back():
    layer, x, _ = on_gpu(CASE)
    inside = from_blocked(layer(to_blocked(x)))
    outside = layer.to("cpu")(x.cpu())
    torch.testing.assert_close(inside.cpu(), outside, rtol=1e-5, atol=1e-5)  # sums of 72 terms of size one


def test_state_on_the_gpu_is_assigned_to_layers_elsewhere():
    layer, x, _ = on_gpu(CASE)
    for device in ("meta", "cpu"):
        other = copy.deepcopy(layer).to(device)
        other.load_state_dict(layer.state_dict(), assign=True)
        assert {other.mask.device, other.positions.device, other.pattern.device} == {x.device}
        assert torch.equal(other(x), layer(x))
