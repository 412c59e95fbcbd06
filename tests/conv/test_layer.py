"""Sparse layers as citizens of torch: state, copies, optimizers, number types, odd inputs."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsefit.conv import SparseConv2d, SparseLinear
from tests.conv.oracle import Case

X = Case().input()


def sparse(seed=0, density=0.3, **kwargs):
    """Return a sparse layer of a case."""
    case = Case(seed=seed, density=density, **kwargs)
    return SparseConv2d.from_dense(case.conv(), case.mask(), backend="sparse")


def test_layer_equals_dense_with_masked_weight(dtype):
    conv, mask = Case().conv().to(dtype), Case().mask()
    layer = SparseConv2d.from_dense(conv, mask)
    x = X.to(dtype)
    torch.testing.assert_close(layer(x), functional.conv2d(x, conv.weight * mask, conv.bias, padding=1))


def test_to_dense_is_the_masked_layer():
    conv, mask = Case(stride=(2, 1), groups=2, dilation=(1, 2)).conv(), Case(groups=2).mask()
    dense = SparseConv2d.from_dense(conv, mask).to_dense()
    assert torch.equal(dense.weight, conv.weight * mask)
    assert torch.equal(dense.bias, conv.bias)
    assert (dense.stride, dense.padding, dense.dilation, dense.groups) == ((2, 1), (1, 1), (1, 2), 2)
    linear, mask = nn.Linear(4, 3, bias=False), torch.rand(3, 4) < 0.5
    dense = SparseLinear.from_dense(linear, mask).to_dense()
    assert torch.equal(dense.weight, linear.weight * mask)
    assert dense.bias is None


def test_the_dense_layer_and_the_mask_are_not_shared():
    conv, mask = Case().conv(), Case().mask()
    layer = SparseConv2d.from_dense(conv, mask)
    before = layer(X)
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.zero_()
    mask.zero_()
    assert torch.equal(layer(X), before)


def test_values_are_the_masked_weight_in_flat_order():
    conv, mask = Case().conv(), Case().mask()
    layer = SparseConv2d.from_dense(conv, mask)
    assert torch.equal(layer.values, conv.weight[mask])
    assert layer.sparsity == pytest.approx(1 - mask.float().mean().item())


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4)])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_named_paddings(padding, kernel):
    case = Case(padding=padding, kernel=kernel, dilation=(2, 1))
    conv, mask = case.conv(), case.mask()
    want = functional.conv2d(X, conv.weight * mask, conv.bias, 1, padding, (2, 1))
    torch.testing.assert_close(SparseConv2d.from_dense(conv, mask)(X), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(1, 2), "same"])
def test_other_padding_modes_equal_torch(mode, padding):
    conv = nn.Conv2d(4, 5, 3, padding=padding, padding_mode=mode)
    mask = torch.rand_like(conv.weight) < 0.3
    layer = SparseConv2d.from_dense(conv, mask)
    torch.testing.assert_close(layer(X), layer.to_dense()(X), rtol=1e-5, atol=1e-5)


def test_unbatched_input():
    layer = sparse()
    assert torch.equal(layer(X[0]), layer(X[:1])[0])
    linear = SparseLinear.from_dense(nn.Linear(4, 3), torch.ones(3, 4, dtype=torch.bool), backend="sparse")
    x = torch.randn(4)
    assert torch.equal(linear(x), linear(x[None])[0])


def test_linear_takes_any_leading_shape():
    layer = SparseLinear.from_dense(nn.Linear(4, 3), torch.rand(3, 4) < 0.5)
    x = torch.randn(2, 5, 6, 4)
    torch.testing.assert_close(layer(x), layer.to_dense()(x))


@pytest.mark.parametrize("backend", ["sparse", "dense", "auto"])
def test_empty_batch(backend):
    layer = SparseConv2d.from_dense(Case().conv(), Case().mask(), backend=backend)
    x = torch.randn(0, 4, 9, 7, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (0, 5, 9, 7)
    assert x.grad.shape == x.shape
    assert (layer.values.grad == 0).all()
    assert (layer.bias.grad == 0).all()


@pytest.mark.parametrize("number", [torch.float16, torch.bfloat16])
def test_half_precision_runs_by_the_reference(number):
    layer = sparse().to(number)
    y = layer(X.to(number))
    y.sum().backward()
    assert y.dtype == layer.values.grad.dtype == number
    want = layer.to_dense()(X.to(number))
    torch.testing.assert_close(y, want)


def test_under_autocast_the_layer_keeps_its_own_type():
    layer = sparse()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(X), sparse()(X))
        assert layer(X.bfloat16()).dtype == torch.float32
        dense = SparseLinear.from_dense(nn.Linear(7, 3), torch.rand(3, 7) < 0.5, backend="dense")
        y = dense(X)
        assert y.dtype == torch.float32
        y.sum().backward()
    torch.testing.assert_close(y, dense(X))


def test_meta_device_gives_shapes():
    assert sparse().to("meta")(X.to("meta")).shape == (3, 5, 9, 7)


# State


def test_state_dict_holds_mask_values_and_bias_only():
    assert list(sparse().state_dict()) == ["values", "bias", "mask"]


@pytest.mark.parametrize("other_density", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("assign", [False, True])
def test_state_reloads_into_a_layer_with_any_other_mask(other_density, assign):
    layer, other = sparse(), sparse(seed=5, density=other_density)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True), assign=assign)
    assert torch.equal(other.mask, layer.mask)
    assert torch.equal(other(X), layer(X))
    other(X).sum().backward()
    assert other.values.grad.shape == layer.values.shape


def test_reloading_keeps_the_parameter_that_an_optimizer_holds():
    layer, other = sparse(), sparse(seed=5, density=0.8)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    other(X).sum().backward()
    other.load_state_dict(layer.state_dict())
    before = other.values.detach().clone()
    optimizer.zero_grad()
    other(X).sum().backward()
    optimizer.step()
    assert not torch.equal(other.values, before)


def test_training_goes_on_from_a_checkpoint_as_without_a_break():
    def train(layer, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            layer(X).square().mean().backward()
            optimizer.step()

    def make(seed):
        layer = sparse(seed=seed)
        return layer, torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)

    straight, optimizer = make(0)
    train(straight, optimizer, 6)
    first, optimizer = make(0)
    train(first, optimizer, 3)
    second, optimizer_2 = make(7)
    second.load_state_dict(first.state_dict())
    optimizer_2.load_state_dict(optimizer.state_dict())
    train(second, optimizer_2, 3)
    assert torch.equal(second.values, straight.values)


def test_a_state_that_does_not_fit_is_refused_by_name():
    state = sparse().state_dict()
    state["values"] = state["values"][:-1]
    with pytest.raises(RuntimeError, match="values and mask are not from one layer"):
        sparse().load_state_dict(state)
    with pytest.raises(RuntimeError, match="the mask must have the shape"):
        sparse(c_in=3).load_state_dict(sparse().state_dict())
    state = sparse().state_dict()
    del state["mask"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"mask"'):
        sparse().load_state_dict(state)


def test_a_mask_without_its_values_is_refused_unless_it_is_the_old_one():
    layer, other = sparse(), sparse(seed=5)
    state = layer.state_dict()
    del state["values"]
    assert layer.load_state_dict(state, strict=False).missing_keys == ["values"]
    with pytest.raises(RuntimeError, match="mask comes without values"):
        other.load_state_dict(state, strict=False)


def test_state_is_assigned_to_a_layer_on_the_meta_device():
    layer = sparse()
    empty = copy.deepcopy(layer).to("meta")
    empty.load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(empty(X), layer(X))
    with pytest.raises(RuntimeError, match="meta device has no content"):
        layer.load_state_dict(empty.to("meta").state_dict())


def test_state_reloads_after_to_empty():
    layer = sparse()
    empty = copy.deepcopy(layer).to_empty(device="cpu")
    empty.mask.copy_(layer.mask)  # as may happen by chance: what is made from it is lost all the same
    empty.load_state_dict(layer.state_dict())
    assert torch.equal(empty(X), layer(X))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_compute_the_same_and_share_nothing(copied):
    layer = sparse()
    twin = copied(layer)
    assert torch.equal(twin(X), layer(X))
    with torch.no_grad():
        twin.values.zero_()
    assert not torch.equal(twin(X), layer(X))


def test_whole_layer_is_saved_and_loaded():
    layer, buffer = sparse(), io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(X), layer(X))


def test_parameters_come_in_the_order_of_the_dense_layer():
    assert [name for name, _ in sparse().named_parameters()] == ["values", "bias"]
    assert [name for name, _ in Case().conv().named_parameters()] == ["weight", "bias"]


def test_frozen_parameters_and_mode_are_kept():
    conv = Case().conv().eval()
    conv.weight.requires_grad_(False)
    layer = SparseConv2d.from_dense(conv, Case().mask())
    assert not layer.values.requires_grad
    assert layer.bias.requires_grad
    assert not layer.training
    assert not layer.to_dense().training


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_momentum_and_weight_decay_never_revive_a_masked_weight(kind):
    arguments = {"lr": 0.1, "weight_decay": 0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {})}
    layer, mask = sparse(), Case().mask()
    optimizer = kind(layer.parameters(), **arguments)
    for _ in range(5):
        optimizer.zero_grad()
        layer(X).square().sum().backward()
        optimizer.step()
    assert (layer.to_dense().weight[~mask] == 0).all()
    assert layer.values.shape == (int(mask.sum()),)


def test_sgd_steps_equal_those_of_dense_with_masked_gradient():
    layer, dense, mask = sparse(), Case().conv(), Case().mask()
    with torch.no_grad():
        dense.weight.mul_(mask)
    dense.weight.register_hook(lambda g: g * mask)
    pair = [torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1) for m in (layer, dense)]
    for _ in range(10):
        for model, optimizer in zip((layer, dense), pair, strict=True):
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(layer.to_dense().weight, dense.weight, rtol=1e-5, atol=1e-6)


def test_repr_shows_sizes_and_sparsity():
    assert "4, 5, kernel_size=(3, 3), stride=(1, 1)" in repr(sparse())
    assert "sparsity=0.7" in repr(sparse(density=0.3, c_in=64))[:400] or "sparsity=" in repr(sparse())
