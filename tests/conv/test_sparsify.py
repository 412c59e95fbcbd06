"""sparsify swaps what has a mask, and nothing else changes."""

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sparsefit.conv import SparseConv2d, SparseLinear, explain, restore_choices, sparsify
from sparsefit.errors import InputError


class Model(nn.Module):
    """Nested, with one convolution used under two names."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.again = self.body[0]
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        """Return logits."""
        return self.head(self.again(self.body(self.stem(x))).mean((2, 3)))


def masks_of(model, *names):
    """Return random masks for the weights of these layers."""
    return {name: torch.rand_like(model.get_parameter(f"{name}.weight")) < 0.4 for name in names}


def test_masked_model_equals_dense_with_masked_weights():
    model = Model().eval()
    masks = masks_of(model, "stem", "body.0", "head")
    swapped = sparsify(model, masks)
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(f"{name}.weight").mul_(mask)
    x = torch.randn(5, 3, 6, 6)
    torch.testing.assert_close(swapped(x), model(x), rtol=1e-4, atol=1e-5)


def test_only_masked_layers_change_and_the_model_is_left_alone():
    model = Model()
    before = [type(module) for module in model.modules()]
    swapped = sparsify(model, masks_of(model, "body.0"))
    assert isinstance(swapped.body[0], SparseConv2d)
    assert isinstance(swapped.stem, nn.Conv2d)
    assert isinstance(swapped.head, nn.Linear)
    assert [type(module) for module in model.modules()] == before
    assert swapped.stem.weight is not model.stem.weight


def test_a_layer_used_twice_stays_one_layer():
    model = Model()
    swapped = sparsify(model, masks_of(model, "again"))
    assert swapped.again is swapped.body[0]
    assert isinstance(swapped.again, SparseConv2d)


def test_names_of_weights_work_and_a_model_may_be_one_layer():
    linear = nn.Linear(4, 3)
    swapped = sparsify(linear, {"weight": torch.ones(3, 4, dtype=torch.bool)})
    assert isinstance(swapped, SparseLinear)


def test_a_bias_that_lost_all_its_entries_is_removed():
    model = Model()
    masks = masks_of(model, "stem") | {
        "stem.bias": torch.zeros(4, dtype=torch.bool),
        "head.bias": torch.ones(2, dtype=torch.bool),
    }
    swapped = sparsify(model, masks)
    assert swapped.stem.bias is None
    assert swapped.head.bias is not None
    assert model.stem.bias is not None


def test_parameters_keep_their_order():
    model = Model()
    swapped = sparsify(model, masks_of(model, "stem", "head"))
    expected = [name.replace("stem.weight", "stem.values") for name, _ in model.named_parameters()]
    expected = [name.replace("head.weight", "head.values") for name in expected]
    assert [name for name, _ in swapped.named_parameters()] == expected


def test_state_of_a_whole_model_reloads_into_other_masks():
    model = Model().eval()
    first = sparsify(model, masks_of(model, "stem", "head"))
    second = sparsify(Model().eval(), masks_of(model, "stem", "head"))
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(first.stem(x), second.stem(x)) or torch.allclose(first(x), second(x), atol=1e-5)


def test_no_masks_give_a_plain_copy():
    model = Model()
    swapped = sparsify(model, {})
    assert swapped is not model
    assert [type(module) for module in swapped.modules()] == [type(module) for module in model.modules()]


def test_explain_names_every_sparse_layer_and_its_choices(backend):
    backend("auto")
    restore_choices([])
    model = Model()
    swapped = sparsify(model, masks_of(model, "stem", "head"))
    assert "nothing chosen yet" in explain(swapped)
    swapped(torch.randn(4, 3, 6, 6)).sum().backward()
    text = explain(swapped)
    assert "stem: 3, 4, kernel_size=(3, 3)" in text
    assert "head: in_features=4" in text
    for direction in ("forward", "backward_weight"):
        assert direction in text
    assert "body" not in text


@pytest.mark.parametrize("backend_name", ["sparse", "dense"])
def test_backend_reaches_every_layer(backend_name):
    model = Model()
    swapped = sparsify(model, masks_of(model, "stem", "head"), backend=backend_name)
    assert swapped.stem.backend == swapped.head.backend == backend_name


def test_masks_that_keep_all_of_another_layer_are_passed_over():
    model = Model()
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
    masks |= {f"{name}.weight": mask for name, mask in masks_of(model, "stem", "head").items()}
    swapped = sparsify(model, masks)
    assert isinstance(swapped.stem, SparseConv2d)
    assert isinstance(swapped.body[1], nn.BatchNorm2d)
    with pytest.raises(InputError, match=r"no Conv2d or Linear is named 'body\.1\.weight'"):
        sparsify(model, {"body.1.weight": torch.tensor([True, True, False, True])})


def test_two_masks_for_one_layer_are_refused_under_any_of_its_names():
    model = Model()
    mask = torch.ones_like(model.again.weight, dtype=torch.bool)
    for keys in (("body.0", "again"), ("body.0", "body.0.weight")):
        with pytest.raises(InputError, match="has two masks"):
            sparsify(model, dict.fromkeys(keys, mask))


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_shared_parameter_is_refused(part):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    setattr(model[1], part, getattr(model[0], part))
    with pytest.raises(InputError, match=f"layer '0' shares its {part} with '1'"):
        sparsify(model, {"0": torch.ones(4, 4) > 0})


def call(layer, x):
    return layer(x)


HELD = {
    "list": list,
    "tuple": tuple,
    "dict": lambda found: dict(enumerate(found)),
    "pairs": lambda found: [(layer, torch.relu) for layer in found],
    "dict of lists": lambda found: {"all": found},
    "partial": lambda found: functools.partial(call, found[1]),
    "bound method": lambda found: found[1].forward,
    "closure": lambda found: lambda x: found[1](x),
    "object": lambda found: SimpleNamespace(first=found[1]),
    "weight": lambda found: [found[1].weight],
    "module in a list": lambda found: [nn.Sequential(*found)],
}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_a_model_that_keeps_its_layers_in_a_plain_container_is_refused(held):
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.path = held([self.a, self.b])

    with pytest.raises(InputError, match="'path' of 'Listed' holds a layer that has a mask"):
        sparsify(Listed(), {"b": torch.ones(4, 4) > 0})


def test_a_model_that_torch_has_pruned_is_refused_with_the_way_out():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    prune.random_unstructured(model[0], "weight", amount=0.5)
    model(torch.ones(1, 4))
    mask = model[0].weight_mask.bool()
    with pytest.raises(InputError, match=r"prune\.remove\(layer, 'weight'\)"):
        sparsify(model, {"0": mask})
    prune.remove(model[0], "weight")
    torch.testing.assert_close(sparsify(model, {"0": mask})(torch.ones(1, 4)), model(torch.ones(1, 4)))
