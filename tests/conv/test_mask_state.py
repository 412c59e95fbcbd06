"""What walks over a layer's tensors: casts, moves, averages, broadcasts, graphs that wait for a gradient."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sparsefit.conv import SparseConv2d, SparseLinear
from sparsefit.errors import InputError
from tests.conv.oracle import Case

X = Case().input()


def sparse(seed=0, density=0.3):
    """Return a sparse layer of a case."""
    case = Case(seed=seed, density=density)
    return SparseConv2d.from_dense(case.conv(), case.mask(), backend="sparse")


def test_a_cast_of_every_tensor_leaves_the_mask_alone():
    layer = sparse()
    want = layer(X)
    layer.type(torch.float32)
    assert layer.mask.dtype == torch.bool
    assert torch.equal(layer(X), want)
    layer.type(torch.float64)
    torch.testing.assert_close(layer(X.double()), want.double(), rtol=1e-5, atol=1e-6)


def test_to_empty_loses_values_but_not_the_mask():
    layer = sparse()
    mask = layer.mask.clone()
    layer.to_empty(device="cpu")
    assert torch.equal(layer.mask, mask)
    layer(X)  # of numbers that nobody set, at places that are right


def test_a_layer_from_the_meta_device_asks_for_its_state():
    layer = sparse()
    state = layer.state_dict()
    empty = copy.deepcopy(layer).to("meta").to_empty(device="cpu")
    for use in (lambda: empty(X), empty.dense_weight):
        with pytest.raises(InputError, match=r"no mask yet.*load a state dict first"):
            use()
    empty.load_state_dict(state)
    assert torch.equal(empty(X), layer(X))


def test_average_over_equal_layers_is_the_layer():
    layer = sparse()
    average = AveragedModel(layer, use_buffers=True, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(20):
        average.update_parameters(layer)
    # Rounding of twenty averages of equal numbers.
    torch.testing.assert_close(average(X), layer(X), rtol=1e-5, atol=1e-5)


def test_tables_of_another_layer_serve_one_call():
    layer, other = copy.deepcopy(sparse(seed=0)), sparse(seed=0)
    mask = other.mask.flatten().roll(1).view_as(other.mask)
    other = SparseConv2d.from_dense(Case().conv(), mask, backend="sparse")
    want = layer(X)
    given = dict(other.named_parameters()) | dict(other.named_buffers())
    assert torch.equal(functional_call(layer, given, (X,)), other(X))
    assert torch.equal(layer(X), want)


def test_mask_of_another_layer_without_its_tables_is_refused():
    layer = sparse()
    assert torch.equal(functional_call(layer, layer.state_dict(), (X,)), layer(X))
    mask = layer.mask.flatten().roll(1).view_as(layer.mask)
    state = SparseConv2d.from_dense(Case().conv(), mask).state_dict()
    with pytest.raises(InputError, match="another mask without what is made from it"):
        functional_call(layer, state, (X,))
    layer.load_state_dict(state)
    assert torch.equal(layer.mask, mask)


def test_a_weight_cannot_be_assigned():
    layer = sparse()
    with pytest.raises(AttributeError, match="no weight to assign"):
        layer.weight = nn.Parameter(torch.zeros(1))
    assert [name for name, _ in layer.named_parameters()] == ["values", "bias"]


@pytest.mark.parametrize(
    "made",
    [
        copy.deepcopy,
        lambda a: pickle.loads(pickle.dumps(a)),
        lambda a: loaded(a),
        lambda a: a.double().float(),
    ],
    ids=["copied", "pickled", "loaded", "cast"],
)
def test_a_layer_that_was_made_from_another_can_meet_a_transform_first(made):
    layer = made(sparse())
    got = grad(lambda values: functional_call(layer, {"values": values}, (X,)).sum())(layer.values.detach())
    assert got.shape == layer.values.shape


def loaded(layer):
    """Return another layer with the state of this one."""
    other = sparse(seed=5)
    other.load_state_dict(layer.state_dict())
    return other


def test_an_average_that_is_copied_has_right_tables():
    average = AveragedModel(sparse(), use_buffers=True, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(20):
        average.update_parameters(sparse())
    torch.testing.assert_close(copy.deepcopy(average)(X), sparse()(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inference", [False, True])
def test_a_layer_that_is_copied_and_first_used_in_inference_can_be_trained(inference):
    layer = copy.deepcopy(sparse())
    layer.pattern.copy_(layer.pattern.clone())  # so that all is made anew
    with torch.inference_mode(inference):
        layer(X)
        layer.dense_weight()
    layer(X).sum().backward()
    layer.dense_weight().sum().backward()
    assert layer.values.grad is not None


def test_another_mask_is_refused_while_a_graph_waits_for_gradients_of_the_old_one():
    layer, other = sparse(), sparse(seed=5)
    held = layer(X)
    with pytest.raises(RuntimeError, match="cannot change while a graph holds the old one"):
        layer.load_state_dict(other.state_dict())
    held.sum().backward()  # nothing was changed
    del held
    layer.load_state_dict(other.state_dict())
    assert torch.equal(layer(X), other(X))
    layer(X).sum().backward()


def test_the_choice_of_a_layer_is_found_whatever_its_density():
    for kept in range(1, 40):
        mask = torch.zeros(1, 40, dtype=torch.bool)
        mask[0, :kept] = True
        layer = SparseLinear.from_dense(nn.Linear(40, 1), mask, backend="auto")
        layer(torch.randn(4, 40))
        assert layer.choice(), kept
