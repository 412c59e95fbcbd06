import copy

import pytest
import torch
from torch import nn

from sparsefit.conv import sparsify
from sparsefit.experiment import model
from sparsefit.experiment.blocked_model import make_blocked
from sparsefit.experiment.goal import CHUNK
from sparsefit.experiment.network import TorchNetwork
from sparsefit.experiment.optimizer import Optimizer

SHAPES = {
    "simple-cnn": (1, 28, 28),
    "simple-cnn-1024": (1, 28, 28),
    "simple-cnn-8x8": (1, 8, 8),
    "resnet-8": (3, 32, 32),
}


def pair(name, sparsity, biases=True):
    """A model twice: dense with masks in its optimizer, and sparse in blocks; with the masks."""
    dense = model.build(name, SHAPES[name], 10, seed=3)
    generator = torch.Generator().manual_seed(1)
    masks = {}
    for layer, module in dense.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            masks[f"{layer}.weight"] = torch.rand(module.weight.shape, generator=generator) >= sparsity
            if biases:
                module.bias.data.normal_(0, 0.1, generator=generator)
            else:
                masks[f"{layer}.bias"] = torch.zeros(module.bias.shape, dtype=torch.bool)
    sparse = make_blocked(sparsify(dense, masks, backend="sparse"))
    parameters = dict(dense.named_parameters())
    dense_masks = {parameters[key]: mask for key, mask in masks.items()}
    Optimizer(list(dense.parameters()), "sgd", "constant", {"learning_rate": 0.1}, dense_masks)
    Optimizer(sparse.parameters(), "sgd", "constant", {"learning_rate": 0.1})
    return dense, sparse, masks


def batch(name, n):
    generator = torch.Generator().manual_seed(n)
    images = torch.randn(n, *SHAPES[name], generator=generator)
    return images, torch.randint(0, 10, (n,), generator=generator)


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
@pytest.mark.parametrize("name", SHAPES)
def test_the_blocked_model_equals_torch_with_masked_weights(name, sparsity, biases):
    dense, sparse, masks = pair(name, sparsity, biases)
    theirs = TorchNetwork(dense)
    dense_parameters = dict(dense.named_parameters())
    # Two pixels of a pooling window may be equal up to rounding; the gradient then takes either, and the more
    # examples, the likelier is such a pair. A wrong tap, bias or scale is off by far more than 3 %.
    for n, tolerance in ((1, 1e-4), (2, 1e-4), (7, 1e-4), (16, 0.03), (33, 0.03)):
        images, labels = batch(name, n)
        # Logits and gradients are sums of up to 1,600 float32 products, a few layers deep.
        torch.testing.assert_close(sparse.evaluate(images), theirs.evaluate(images), rtol=1e-4, atol=1e-5)
        for parameter in [*sparse.parameters(), *theirs.parameters()]:
            parameter.grad.zero_()
        ours = sparse.add_gradient(images, labels, n)
        assert ours == pytest.approx(theirs.add_gradient(images, labels, n), rel=1e-5)
        for key, parameter in sparse.module.named_parameters():
            grad = dense_parameters[key.replace("values", "weight")].grad
            expected = grad[masks[key.replace("values", "weight")]] if key.endswith("values") else grad
            assert torch.dist(parameter.grad, expected) <= tolerance * expected.norm()


def test_gradients_of_micro_batches_add_up_to_that_of_the_batch():
    _, sparse, _ = pair("simple-cnn", 0.9)
    images, labels = batch("simple-cnn", 96)
    whole = sparse.add_gradient(images, labels, 96)
    expected = [parameter.grad.clone() for parameter in sparse.parameters()]
    for parameter in sparse.parameters():
        parameter.grad.zero_()
    parts = sum(sparse.add_gradient(images[i : i + 32], labels[i : i + 32], 96) for i in (0, 32, 64))
    assert parts == pytest.approx(whole, rel=1e-6)
    for parameter, grad in zip(sparse.parameters(), expected, strict=True):
        assert torch.dist(parameter.grad, grad) <= 0.03 * grad.norm()  # pairs of equal pixels, see above


@pytest.mark.parametrize("name", SHAPES)
def test_logits_do_not_depend_on_the_company_of_an_example_in_a_chunk(name):
    dense, sparse, _ = pair(name, 0.5)
    images, _ = batch(name, CHUNK)
    order = torch.randperm(CHUNK, generator=torch.Generator().manual_seed(5))
    for network in (sparse, TorchNetwork(dense)):
        assert torch.equal(network.evaluate(images[order]), network.evaluate(images)[order])


def test_a_user_model_is_left_to_torch():
    user = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    masks = {"1": torch.rand(10, 64) > 0.5}
    assert make_blocked(sparsify(user, masks, backend="sparse")) is None


def test_a_user_model_is_evaluated_without_dropout_and_trained_with_it():
    network = TorchNetwork(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)))
    images, labels = batch("simple-cnn-8x8", 8)
    assert torch.equal(network.evaluate(images), network.evaluate(images))
    twin = copy.deepcopy(network)
    assert network.add_gradient(images, labels, 8) != twin.add_gradient(images, labels, 8)
