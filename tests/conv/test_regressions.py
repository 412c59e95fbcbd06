"""Defects of sparse layers, each as a test that names it.

Some were found here, others in SparseProp (github.com/IST-DASLab/sparseprop).
"""

import copy

import pytest
import torch
from torch import nn

from sparsefit.conv import SparseConv2d, SparseLinear, from_blocked, to_blocked
from sparsefit.conv.call import problem
from sparsefit.errors import InputError
from tests.conv.oracle import Case, check, run


def layer_of(case):
    """Return the dense layer, the mask and the sparse layer of a case."""
    conv, mask = case.conv(), case.mask()
    return conv, mask, SparseConv2d.from_dense(conv, mask, backend="sparse")


@pytest.mark.parametrize("n", [5, 12, 15, 20])
def test_batch_that_is_no_multiple_of_the_vector_is_right(n):
    conv, mask, layer = layer_of(Case(n=n, c_in=8, c_out=8, size=(8, 8), density=0.1))
    x, grad = torch.randn(n, 8, 8, 8), torch.randn(n, 8, 8, 8)
    check(conv, mask, x, grad, run(layer, x, grad))
    check(conv, mask, x, grad, run(layer, x, grad, blocked=True))


def test_last_partial_batch_of_an_epoch_equals_the_same_rows_of_a_full_one():
    _, _, layer = layer_of(Case(c_in=4, c_out=4, size=(7, 7)))
    x = torch.randn(32, 4, 7, 7)
    full, partial = layer(x), layer(x[:21])
    torch.testing.assert_close(partial, full[:21], rtol=1e-6, atol=1e-6)  # at most another order of summation


@pytest.mark.parametrize("blocked", [False, True])
def test_expanded_gradient_of_a_sum_is_right(blocked):
    conv, mask, layer = layer_of(Case(n=9))
    x = torch.randn(9, 4, 9, 7)
    actual = run(layer, x, None, blocked=blocked)
    check(conv, mask, x, torch.ones_like(actual.forward), actual)


def test_expanded_input_is_right():
    conv, mask, layer = layer_of(Case(n=9))
    x = torch.randn(1, 4, 1, 7).expand(9, 4, 9, 7)
    grad = torch.randn(9, 5, 9, 7)
    check(conv, mask, x, grad, run(layer, x, grad))


def test_channels_last_input_and_gradient_are_right():
    conv, mask, layer = layer_of(Case(n=9))
    x = torch.randn(9, 4, 9, 7).to(memory_format=torch.channels_last)
    grad = torch.randn(9, 5, 9, 7).to(memory_format=torch.channels_last)
    actual = run(layer, x, grad)
    check(conv, mask, x, grad, actual)
    assert actual.forward.is_contiguous(memory_format=torch.channels_last)


def test_groups_are_computed():
    conv, mask, layer = layer_of(Case(n=5, c_in=2, c_out=3, groups=2))
    x, grad = torch.randn(5, 4, 9, 7), torch.randn(5, 6, 9, 7)
    check(conv, mask, x, grad, run(layer, x, grad))


def test_dilation_is_not_ignored():
    conv, mask, layer = layer_of(Case(n=5, dilation=(2, 2), padding=(2, 2)))
    x, grad = torch.randn(5, 4, 9, 7), torch.randn(5, 5, 9, 7)
    check(conv, mask, x, grad, run(layer, x, grad))


def test_both_numbers_of_stride_and_padding_are_read():
    conv, mask, layer = layer_of(Case(n=5, stride=(1, 2), padding=(0, 2)))
    x, grad = torch.randn(5, 4, 9, 7), torch.randn(5, 5, 7, 5)
    check(conv, mask, x, grad, run(layer, x, grad))


@pytest.mark.parametrize("width", [8, 15, 16, 17])
def test_stride_2_reads_nothing_past_the_row_or_the_plane(width):
    """The input lies between NaN: whatever is read and used from outside shows."""
    conv, mask, layer = layer_of(Case(n=5, stride=(2, 2), density=1.0))
    around = torch.full((7, 6, 11, width + 2), float("nan"))
    around[1:-1, 1:-1, 1:-1, 1:-1] = torch.randn(5, 4, 9, width)
    x = around[1:-1, 1:-1, 1:-1, 1:-1]
    grad_around = torch.full((7, 7, 7, (width + 1) // 2 + 2), float("nan"))
    grad_around[1:-1, 1:-1, 1:-1, 1:-1] = torch.randn(5, 5, 5, (width + 1) // 2)
    grad = grad_around[1:-1, 1:-1, 1:-1, 1:-1]
    check(conv, mask, x, grad, run(layer, x, grad))


def test_results_are_written_inside_their_own_memory_only():
    """A result that is a slice of a larger tensor leaves its surroundings alone."""
    from sparsefit.conv.kernels import load_core

    core = load_core()
    _, _, layer = layer_of(Case(n=3, density=1.0))
    x = torch.randn(3, 4, 9, 7)
    around = torch.full((5, 7, 11, 9), 7.0)
    inside = around[1:-1, 1:-1, 1:-1, 1:-1]
    sizes = core.Conv(
        n=3, c_in=4, h_in=9, w_in=7, c_out=5, h_out=9, w_out=7, kh=3, kw=3, pad_top=1, pad_left=1
    )
    core.forward(
        sizes,
        core.Operand(x.data_ptr(), strides=x.stride()),
        layer.values.data_ptr(),
        layer.bias.data_ptr(),
        layer.pattern.data_ptr(),
        core.Operand(inside.data_ptr(), strides=inside.stride()),
        1,
    )
    assert torch.equal(inside, layer(x))
    outside = torch.ones_like(around, dtype=torch.bool)
    outside[1:-1, 1:-1, 1:-1, 1:-1] = False
    assert (around[outside] == 7.0).all()


@pytest.mark.parametrize("which", ["stride of the batch", "stride of the channels"])
def test_offsets_past_2_to_the_31_elements_are_right(which):
    """The memory is reserved, not used: only the pages that the two images lie on become real."""
    conv, mask, layer = layer_of(Case(n=2, c_in=2, c_out=2, size=(4, 4), density=1.0))
    step = 2**31 + 64
    strides = (step, 16, 4, 1) if which == "stride of the batch" else (16, step, 4, 1)
    far = torch.empty(step + 64, dtype=torch.float32)
    x = far.as_strided((2, 2, 4, 4), strides)
    x.copy_(torch.randn(2, 2, 4, 4))
    grad = far.as_strided((2, 2, 4, 4), strides, 32)
    grad.copy_(torch.randn(2, 2, 4, 4))
    near_x, near_grad = x.clone(), grad.clone()
    check(conv, mask, near_x, near_grad, run(layer, x, grad))


def test_kept_weight_that_is_zero_stays_kept_and_learns():
    conv = nn.Conv2d(2, 2, 3)
    with torch.no_grad():
        conv.weight.zero_()
    mask = torch.ones_like(conv.weight, dtype=torch.bool)
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse")
    assert layer.values.numel() == mask.numel()
    layer(torch.randn(3, 2, 5, 5)).square().sum().backward()
    assert (layer.values.grad != 0).all()


def test_to_moves_everything():
    _, _, layer = layer_of(Case())
    moved = copy.deepcopy(layer).to(torch.float64)
    assert moved(torch.randn(1, 4, 9, 7, dtype=torch.float64)).dtype == torch.float64


def test_number_of_threads_follows_torch_at_any_time(threads):
    _, _, layer = layer_of(Case(n=64))
    x = torch.randn(64, 4, 9, 7)
    results = []
    for count in (1, 2, 1):
        threads(count)
        results.append(layer(x))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_weight_gradient_is_sparse_not_dense():
    linear = nn.Linear(10, 6)
    mask = torch.rand(6, 10) < 0.3
    layer = SparseLinear.from_dense(linear, mask, backend="sparse")
    layer(torch.randn(4, 10)).sum().backward()
    assert layer.values.grad.shape == (int(mask.sum()),)


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_nan_and_inf_spread_as_in_the_reference_where_a_tap_is_kept(poison, blocked):
    _, mask, layer = layer_of(Case(n=5, density=0.2))
    x = torch.randn(5, 4, 9, 7)
    x[2, 1, 4, 3] = poison
    output = from_blocked(layer(to_blocked(x))) if blocked else layer(x)
    touched = torch.nn.functional.conv2d(
        (~x.isfinite()).float(), mask.float(), padding=(1, 1)
    )  # where a kept tap meets the poison
    assert torch.equal(~output.isfinite(), touched > 0)


def test_nan_in_the_values_stays_out_of_the_idle_lanes():
    _, _, layer = layer_of(Case(n=3))
    with torch.no_grad():
        layer.values.fill_(float("nan"))
        layer.bias.fill_(float("nan"))
    assert (layer(to_blocked(torch.randn(3, 4, 9, 7))).data[..., 3:] == 0).all()


@pytest.mark.parametrize(("kernel", "padding"), [(1, 2), (3, 4), (3, 5)])
@pytest.mark.parametrize("blocked", [False, True])
def test_bands_that_lie_in_the_padding_altogether_are_zeros(kernel, padding, blocked):
    # Channels enough that the work is cut into bands of a few rows.
    case = Case(n=16, c_in=128, c_out=4, size=(24, 24), kernel=(kernel, kernel), padding=(padding, padding))
    conv, mask, layer = layer_of(case)
    side = 24 + 2 * padding - kernel + 1
    x, grad = torch.randn(16, 128, 24, 24), torch.randn(16, 4, side, side)
    check(conv, mask, x, grad, run(layer, x, grad, blocked=blocked))


def test_a_tensor_that_stands_for_the_negative_of_its_memory_is_right():
    conv, mask, layer = layer_of(Case(n=3))
    x = torch.randn(3, 4, 9, 7, dtype=torch.cfloat).conj().imag
    grad = torch.randn(3, 5, 9, 7, dtype=torch.cfloat).conj().imag
    assert x.is_neg()
    check(conv, mask, x.resolve_neg(), grad.resolve_neg(), run(layer, x, grad))
    assert torch.equal(from_blocked(to_blocked(x)), x.resolve_neg())
    linear = SparseLinear.from_dense(nn.Linear(7, 2), torch.rand(2, 7) < 0.5, backend="sparse")
    torch.testing.assert_close(linear(x), linear(x.resolve_neg()), rtol=0, atol=0)


def test_a_tensor_of_zeros_without_memory_is_right():
    _, _, layer = layer_of(Case(n=3))
    zeros = torch._efficientzerotensor((3, 4, 9, 7))
    assert torch.equal(layer(zeros), layer(torch.zeros(3, 4, 9, 7)))


@pytest.mark.parametrize("backend", ["sparse", "dense", "auto"])
@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op")
def test_a_linear_layer_without_outputs_has_a_gradient_of_zeros(n, backend):
    layer = SparseLinear.from_dense(nn.Linear(300, 0), torch.ones(0, 300) > 0, backend=backend)
    x = torch.randn(n, 300, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (n, 0)
    assert torch.equal(x.grad, torch.zeros(n, 300))
    b = torch.randn(n, 300, requires_grad=True)
    layer(to_blocked(b)).data.sum().backward()
    assert torch.equal(b.grad, torch.zeros(n, 300))


@pytest.mark.parametrize("channels", [(5, 0), (0, 5)])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op")
def test_a_convolution_without_channels_is_refused(channels):
    conv = nn.Conv2d(*channels, 3)
    with pytest.raises(InputError, match="number of channels must be 1 or more"):
        SparseConv2d.from_dense(conv, torch.ones_like(conv.weight, dtype=torch.bool))


def test_patches_of_the_size_of_their_stride_leave_the_gradient_to_torch():
    conv = nn.Conv2d(3, 96, 16, stride=16)
    mask = torch.rand_like(conv.weight) < 0.1
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse")
    x, grad = torch.randn(2, 3, 32, 32), torch.randn(2, 96, 2, 2)
    check(conv, mask, x, grad, run(layer, x, grad))
    assert "backward_input" in problem(layer.geometry, tuple(x.shape), None, len(layer.values)).dense_only


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op")
@pytest.mark.parametrize("shape", [(0,), (5, 0), (2, 3, 0)])
def test_a_linear_layer_without_inputs_gives_its_bias(shape):
    linear = nn.Linear(0, 4)
    layer = SparseLinear.from_dense(linear, torch.ones(4, 0) > 0)
    assert torch.equal(layer(torch.zeros(shape)), linear(torch.zeros(shape)))
