import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from sparsefit.errors import InputError
from sparsefit.experiment import data, model, prune

KAPPAS = {
    ("simple-cnn", (1, 28, 28)): {0.5: 31_173, 0.7: 18_704, 0.9: 6_235},
    ("resnet-8", (3, 32, 32)): {0.5: 37_525, 0.7: 22_515, 0.9: 7_505},
}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def order(digits):
    return data.ExampleOrder(len(digits.train_labels)).pruning


@pytest.fixture
def small():
    """A network of 147 weights and 13 biases, so that exhaustive comparisons are quick."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(12, 10))
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
    return network


def random_images(shape, n=200):
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(n, *shape, generator=generator), torch.arange(n) % 10
    return data.DataSet("random", images, labels, 10, (0.0,), (1.0,), "")


@pytest.mark.parametrize(("name", "shape"), KAPPAS)
def test_kept_parameters_are_those_of_the_protocol_and_no_bias_survives(name, shape):
    network = model.build(name, shape, 10, seed=0)
    saliency = prune.saliencies(network, random_images(shape), np.arange(200))
    for sparsity, kappa in KAPPAS[name, shape].items():
        masks = prune.top(network, saliency, sparsity)
        assert sum(int(mask.sum()) for mask in masks.values()) == kappa
        assert not any(mask.any() for key, mask in masks.items() if key.endswith("bias"))


def test_sparsity_zero_keeps_everything_biases_included(small, digits, order):
    masks = prune.masks(small, digits, order, 0.0)
    assert all(mask.all() for mask in masks.values())
    assert set(masks) == set(dict(small.named_parameters()))


def test_snip_is_the_sum_over_all_batches_of_the_gradient_to_the_mask(small, digits, order):
    names = prune.prunable(small, biases=True)
    parameters = {name: p.detach() for name, p in small.named_parameters()}
    mask = {name: torch.ones_like(p, requires_grad=True) for name, p in parameters.items()}
    assert len(order) % 100  # so that the last batch is a short one, with its own mean
    for start in range(0, len(order), 100):
        batch = torch.from_numpy(order[start : start + 100])
        masked = {name: p * mask[name] for name, p in parameters.items()}
        logits = functional_call(small, masked, (digits.train_images[batch],))
        cross_entropy(logits, digits.train_labels[batch]).backward()  # accumulates over the batches
    saliency = prune.saliencies(small, digits, order)
    for name in names:
        # float32 sums of 14 terms in two orders
        torch.testing.assert_close(saliency[name].float(), mask[name].grad.abs(), rtol=1e-4, atol=1e-6)


def test_one_batch_snip_sees_the_first_hundred_examples(small, digits, order):
    first = prune.saliencies(small, digits, order[:100])
    one = prune.saliencies(small, digits, order, scope="one-batch")
    assert all(torch.equal(first[name], one[name]) for name in first)
    assert not torch.equal(one["0.weight"], prune.saliencies(small, digits, order)["0.weight"])


def test_grasp_is_the_weight_times_the_hessian_times_the_gradient(small, digits, order):
    names = prune.prunable(small, biases=True)
    images, labels = digits.train_images[order[:100]], digits.train_labels[order[:100]]
    values = [dict(small.named_parameters())[name].detach() for name in names]

    def loss(*parameters):
        logits = functional_call(small, dict(zip(names, parameters, strict=True)), (images,))
        return cross_entropy(logits / 200.0, labels)

    gradient = torch.autograd.functional.jacobian(loss, tuple(values))
    _, product = torch.autograd.functional.hvp(loss, tuple(values), gradient)
    saliency = prune.saliencies(small, digits, order, method="grasp", scope="one-batch")
    for name, value, expected in zip(names, values, product, strict=True):
        scale = (value * expected).abs().max().item()
        torch.testing.assert_close(
            saliency[name].float(), value * expected, rtol=1e-3, atol=1e-4 * scale + 1e-12
        )


def test_synflow_never_empties_a_layer_where_magnitude_does(digits, order):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 20), nn.Linear(20, 10))
    model.initialise(network, torch.Generator().manual_seed(0))
    with torch.no_grad():
        network[3].weight.mul_(1e-4)  # a layer of small weights: the first that magnitude removes
    flow = prune.masks(network, digits, order, 0.98, method="synflow")
    size = prune.masks(network, digits, order, 0.98, method="magnitude")
    assert all(mask.any() for name, mask in flow.items() if name.endswith("weight"))
    assert not size["3.weight"].any()
    prune.apply(network, flow)
    # What is left still carries a signal from the image to the classes.
    assert network(torch.ones(1, 1, 8, 8).requires_grad_()).abs().max() > 0


def test_synflow_needs_no_examples_and_leaves_the_model_alone(small, digits):
    before = {name: p.detach().clone() for name, p in small.named_parameters()}
    prune.saliencies(small, digits, np.arange(0), method="synflow")
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in small.named_parameters())


@pytest.mark.parametrize("method", prune.METHODS)
def test_masks_are_nested_reproducible_and_of_the_size_asked_for(method, small, digits, order):
    saliency = prune.saliencies(small, digits, order, method=method, seed=1)
    n = sum(values.numel() for values in saliency.values())
    again = prune.saliencies(small, digits, order, method=method, seed=1)
    levels = [prune.top(small, saliency, sparsity) for sparsity in (0.0, 0.3, 0.5, 0.7, 0.9, 0.97)]
    for masks, sparsity in zip(levels, (0.0, 0.3, 0.5, 0.7, 0.9, 0.97), strict=True):
        assert sum(int(mask.sum()) for mask in masks.values()) == round(n * (1 - sparsity))
        repeated = prune.top(small, again, sparsity)
        assert all(torch.equal(mask, repeated[name]) for name, mask in masks.items())
    for wide, narrow in itertools.pairwise(levels):
        assert not any((narrow[name] & ~wide[name]).any() for name in narrow)


def test_random_masks_depend_on_the_seed(small, digits, order):
    first, second = (prune.masks(small, digits, order, 0.5, method="random", seed=seed) for seed in (0, 1))
    assert not torch.equal(first["0.weight"], second["0.weight"])


def test_biases_can_be_left_out_of_the_competition(small, digits, order):
    masks = prune.masks(small, digits, order, 0.9, biases=False)
    weights = [mask for name, mask in masks.items() if name.endswith("weight")]
    assert sum(int(mask.sum()) for mask in weights) == round(sum(mask.numel() for mask in weights) * 0.1)
    assert all(mask.all() for name, mask in masks.items() if name.endswith("bias"))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 275), st.integers(0, 2**32 - 1))
def test_ties_keep_weights_before_biases_and_earlier_before_later(n_positive, seed):
    network = nn.Sequential(nn.Linear(24, 11))
    generator = np.random.default_rng(seed)
    values = np.zeros(275)
    values[generator.permutation(275)[:n_positive]] = 1.0
    flat = torch.from_numpy(values)
    saliency = {"0.weight": flat[:264].reshape(11, 24), "0.bias": flat[264:]}
    masks = prune.top(network, saliency, 0.4)
    chosen = torch.cat([masks["0.weight"].flatten(), masks["0.bias"]]).numpy()
    best = sorted(range(275), key=lambda index: (-values[index], index))[:165]
    assert sorted(np.flatnonzero(chosen)) == sorted(best)


def test_parameters_of_other_layers_are_kept_and_not_counted(digits, order):
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten(), nn.Linear(72, 10)
    )
    masks = prune.masks(network, digits, order, 0.8)
    assert masks["1.weight"].all()
    pruned = [masks[name] for name in prune.prunable(network, biases=True)]
    assert sum(int(m.sum()) for m in pruned) == round(sum(m.numel() for m in pruned) * 0.2)


def test_apply_zeroes_what_is_pruned_and_nothing_else(small, digits, order):
    before = {name: p.detach().clone() for name, p in small.named_parameters()}
    masks = prune.masks(small, digits, order, 0.5)
    prune.apply(small, masks)
    for name, parameter in small.named_parameters():
        assert torch.equal(parameter, torch.where(masks[name], before[name], 0.0))


@pytest.mark.parametrize("what", ["another name", "another shape", "NaN"])
def test_saliencies_of_another_model_are_refused(what, small, digits, order):
    found = prune.saliencies(small, digits, order)
    first = next(iter(found))
    if what == "another name":
        found["other"] = found.pop(first)
    elif what == "another shape":
        found[first] = found[first].flatten()
    else:
        found[first].view(-1)[0] = torch.nan
    with pytest.raises(InputError, match=r"saliency of '.*': got"):
        prune.top(small, found, 0.5)


@pytest.mark.parametrize("what", ["no mask", "another shape"])
def test_masks_of_another_model_are_refused_before_anything_is_pruned(what, small):
    before = [p.detach().clone() for p in small.parameters()]
    masks = {name: torch.zeros_like(mask) for name, mask in prune.keep_all(small).items()}
    last = list(masks)[-1]
    if what == "no mask":
        del masks[last]
    else:
        masks[last] = masks[last][None]
    with pytest.raises(InputError, match=f"got none for '{last}'"):
        prune.apply(small, masks)
    assert all(torch.equal(p, was) for p, was in zip(small.parameters(), before, strict=True))


@pytest.mark.parametrize("method", ["snip", "grasp", "synflow", "magnitude"])
def test_a_model_of_nan_or_zero_weights_is_refused_with_the_reason(method, small, digits, order):
    with torch.no_grad():
        small[0].weight.zero_()
        small[4].weight.zero_()
    with pytest.raises(InputError, match="every saliency is 0"):
        prune.saliencies(small, digits, order[:100], method=method)
    with torch.no_grad():
        small[4].weight.fill_(float("nan"))
    with pytest.raises(InputError, match="is not finite"):
        prune.saliencies(small, digits, order[:100], method=method)


@pytest.mark.parametrize("sparsity", [1.0, -0.1, 50, float("nan")])
def test_a_sparsity_outside_its_range_is_refused(sparsity, small, digits, order):
    with pytest.raises(InputError, match="it is the share of zeros, not percent"):
        prune.masks(small, digits, order, sparsity, method="magnitude")


def test_wrong_names_and_models_are_refused(small, digits, order):
    with pytest.raises(InputError, match="pruning: got 'lottery', allowed snip, grasp"):
        prune.masks(small, digits, order, 0.5, method="lottery")
    with pytest.raises(InputError, match="pruning_scope: got 'some', allowed all, one-batch"):
        prune.masks(small, digits, order, 0.5, scope="some")
    with pytest.raises(InputError, match="keeps none of 160 parameters"):
        prune.masks(small, digits, order, 0.999, method="random")
    with pytest.raises(InputError, match="nothing to prune"):
        prune.masks(nn.Flatten(), digits, order, 0.5)


def test_a_weight_that_two_layers_share_is_refused():
    layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    layers[1].weight = layers[0].weight
    with pytest.raises(InputError, match=r"1\.weight is no parameter of that layer alone"):
        prune.prunable(layers, biases=True)
