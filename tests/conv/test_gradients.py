"""Evidence for the gradients, in order: numerical, second order, registered formulas, functorch."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacrev, vmap

from sparsefit.conv import SparseConv2d, SparseLinear, from_blocked, op, sparsify, to_blocked
from sparsefit.conv.call import Call
from sparsefit.errors import InputError
from tests.conv.oracle import Case

CASES = {
    "plain": Case(n=2, c_in=2, c_out=3, size=(4, 3)),
    "strided": Case(n=2, c_in=2, c_out=2, size=(5, 4), stride=(2, 1), padding=(0, 1), kernel=(3, 2)),
    "uneven": Case(n=2, c_in=1, c_out=2, size=(4, 3), padding="same", kernel=(2, 3), dilation=(1, 2)),
    "grouped": Case(n=2, c_in=1, c_out=2, size=(4, 3), groups=2, density=0.6),
    "no bias": Case(n=3, c_in=2, c_out=2, size=(3, 3), bias=False),
}


def function_of(case, blocked):
    """Return a function of input, values and bias in float64, and its arguments."""
    layer = SparseConv2d.from_dense(case.conv().double(), case.mask())
    parameters = dict(layer.named_parameters())

    def function(x, *numbers):
        batch = to_blocked(x) if blocked else x
        y = functional_call(layer, dict(zip(parameters, numbers, strict=True)), (batch,))
        return from_blocked(y) if blocked else y

    return function, (case.input().double().requires_grad_(), *parameters.values())


@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_numerical_gradients_agree_in_float64(name, blocked):
    function, arguments = function_of(CASES[name], blocked)
    assert gradcheck(function, arguments)


@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
@pytest.mark.parametrize("name", ["plain", "strided", "no bias"])
def test_numerical_second_derivatives_agree_in_float64(name, blocked):
    function, arguments = function_of(CASES[name], blocked)
    assert gradgradcheck(function, arguments)


@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
def test_second_derivatives_of_the_kernels_equal_those_of_dense(blocked):
    case = Case(n=5)
    conv, mask = case.conv(), case.mask()
    layer = SparseConv2d.from_dense(conv, mask, backend="sparse")
    x = case.input().requires_grad_()

    def penalty(y, weight):
        (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().sum(), [x, weight])

    y = from_blocked(layer(to_blocked(x))) if blocked else layer(x)
    got_x, got_values = penalty(y, layer.values)
    weight = (conv.weight * mask).detach().requires_grad_()
    want_x, want_weight = penalty(nn.functional.conv2d(x, weight, conv.bias, padding=1), weight)
    # Four convolutions in a row: errors of 1e-7 relative to numbers of up to 1e4.
    torch.testing.assert_close(got_x, want_x, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(got_values, want_weight[mask], rtol=1e-4, atol=1e-2)


def sample_arguments(blocked):
    """Return arguments for the three operators: input, gradient, values, bias, and what they share."""
    case = Case(n=3)
    layer = SparseConv2d.from_dense(case.conv(), case.mask())
    x, g = case.input(), torch.randn(3, 5, 9, 7)
    if blocked:
        x, g = to_blocked(x).data, to_blocked(g).data
    common = (layer.positions, layer.pattern, list(layer.geometry))
    return x.requires_grad_(), g.requires_grad_(), layer.values, layer.bias, common, 3 if blocked else None


@pytest.mark.parametrize("backend", ["sparse", "dense"])
@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
@pytest.mark.parametrize("name", ["conv2d", "conv2d_backward_input", "conv2d_backward_weight"])
def test_opcheck_passes(name, blocked, backend):
    x, g, values, bias, common, n = sample_arguments(blocked)
    arguments = {
        "conv2d": (x, values, bias, *common, n, backend),
        "conv2d_backward_input": (g, values, list(x.shape), *common, n, backend),
        "conv2d_backward_weight": (x, g, True, *common, n, backend),
    }[name]
    torch.library.opcheck(getattr(torch.ops.sparsefit, name).default, arguments)


def test_eager_form_and_library_form_give_the_same_bits():
    x, _, values, bias, common, n = sample_arguments(blocked=False)
    eager = op.conv2d(x, values, bias, Call.of(*common, n, "sparse"))
    library = torch.ops.sparsefit.conv2d(x, values, bias, *common, n, "sparse")
    assert torch.equal(eager, library)
    for a, b in zip(
        torch.autograd.grad(eager.sum(), [x, values, bias]),
        torch.autograd.grad(library.sum(), [x, values, bias]),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("wanted", ["input", "values", "bias"])
def test_only_what_is_wanted_gets_a_gradient(wanted):
    layer = SparseConv2d.from_dense(Case().conv(), Case().mask(), backend="sparse").requires_grad_(False)
    x = Case().input()
    tensor = {"input": x, "values": layer.values, "bias": layer.bias}[wanted].requires_grad_()
    layer(x).sum().backward()
    assert tensor.grad is not None
    assert [t.grad is not None for t in (x, layer.values, layer.bias)].count(True) == 1


def small_model():
    """Return a model with two sparse layers and one dense, and a batch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4), nn.Linear(4, 2))
    masks = {"0": torch.rand_like(model[0].weight) < 0.5, "3": torch.rand_like(model[3].weight) < 0.5}
    return sparsify(model, masks), torch.randn(6, 2, 5, 5)


@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
def test_gradients_per_sample_by_vmap_equal_single_ones(blocked):
    model, x = small_model()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, sample):
        batch = to_blocked(sample[None]) if blocked else sample[None]
        y = functional_call(model, parameters, (batch,))
        return (from_blocked(y) if blocked else y).square().sum()

    per_sample = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i, sample in enumerate(x):
        model.zero_grad()
        model(sample[None]).square().sum().backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(per_sample[name][i], p.grad, rtol=1e-4, atol=1e-5)


def test_vmap_over_stacked_values_gives_an_ensemble():
    layer = SparseConv2d.from_dense(Case().conv(), Case().mask())
    x, stack = Case().input(), torch.randn(4, layer.values.numel())
    outputs = vmap(lambda values: functional_call(layer, {"values": values}, (x,)))(stack)
    for values, output in zip(stack, outputs, strict=True):
        torch.testing.assert_close(
            output, functional_call(layer, {"values": values}, (x,)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_hessian_of_torch_func_equals_that_of_dense():
    case = Case(n=2, c_in=1, c_out=1, size=(3, 3), bias=False)
    conv, mask = case.conv().double(), case.mask()
    layer, x = SparseConv2d.from_dense(conv, mask), case.input().double()
    got = hessian(lambda v: functional_call(layer, {"values": v}, (x,)).pow(3).sum())(layer.values.detach())
    want = hessian(lambda w: nn.functional.conv2d(x, w * mask, padding=1).pow(3).sum())(conv.weight.detach())
    flat = mask.flatten()
    torch.testing.assert_close(got, want.view(9, 9)[flat][:, flat])


@pytest.mark.parametrize("backend", ["sparse", "dense"])
@pytest.mark.parametrize("name", ["conv2d", "conv2d_backward_input", "conv2d_backward_weight"])
def test_opcheck_passes_for_the_rows_of_a_linear_layer(name, backend):
    torch.manual_seed(0)
    layer = SparseLinear.from_dense(nn.Linear(12, 7), torch.rand(7, 12) < 0.4)
    x, g = torch.randn(5, 12, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    common = (layer.positions, layer.pattern, list(layer.geometry), None, backend)
    arguments = {
        "conv2d": (x, layer.values, layer.bias, *common),
        "conv2d_backward_input": (g, layer.values, list(x.shape), *common),
        "conv2d_backward_weight": (x, g, True, *common),
    }[name]
    torch.library.opcheck(getattr(torch.ops.sparsefit, name).default, arguments)


class Network(nn.Module):
    """A layer on strided operands, or one between blocks."""

    def __init__(self, backend, blocked):
        super().__init__()
        self.layer = SparseConv2d.from_dense(Case().conv(), Case().mask(), backend=backend)
        self.blocked = blocked

    def forward(self, x):
        """Return the convolution, rectified."""
        if not self.blocked:
            return self.layer(x).relu()
        return from_blocked(nn.functional.max_pool2d(nn.functional.relu(self.layer(to_blocked(x))), 1))


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
def test_forward_mode_has_the_tangent_of_torch(blocked, grad):
    network, conv, mask = Network("sparse", blocked), Case().conv(), Case().mask()
    x, v = Case().input(), torch.randn(3, 4, 9, 7)

    def dense(x):
        return nn.functional.conv2d(x, conv.weight * mask, conv.bias, padding=1).relu()

    def tangent(function):
        with torch.set_grad_enabled(grad), forward_ad.dual_level():
            return forward_ad.unpack_dual(function(forward_ad.make_dual(x, v))).tangent

    torch.testing.assert_close(tangent(network), tangent(dense), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
def test_many_gradients_in_one_backward_are_refused_and_jacrev_has_them(blocked):
    network, x = Network("sparse", blocked), Case().input()
    with pytest.raises(InputError, match=r"take them one by one, or use torch\.func\.jacrev"):
        torch.autograd.functional.jacobian(network, x, vectorize=True)
    one_by_one = torch.autograd.functional.jacobian(network, x)
    torch.testing.assert_close(jacrev(network)(x), one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_a_traced_layer_computes_other_batches_and_blocks_are_refused(grad):
    network, x = Network("sparse", False), Case().input()
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(network, x, check_trace=False)
        other = torch.randn(5, *x.shape[1:])
        assert torch.equal(traced(other), network(other))
        with pytest.raises(InputError, match="cannot record a blocked batch"):
            torch.jit.trace(Network("sparse", True), x, check_trace=False)
