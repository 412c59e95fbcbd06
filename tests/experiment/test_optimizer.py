import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sparsefit.errors import InputError
from sparsefit.experiment.optimizer import Optimizer

METAPARAMETERS = {"learning_rate": 0.05, "momentum": 0.9, "decay_steps": 7, "end_learning_rate_factor": 0.1}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5))


def batches(n):
    generator = torch.Generator().manual_seed(1)
    for _ in range(n):
        images = torch.randn(6, 1, 4, 4, generator=generator)
        yield images, torch.randint(0, 5, (6,), generator=generator)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_updates_equal_torch_sgd_bit_for_bit(rule, schedule):
    ours, theirs = network(), network()
    optimizer = Optimizer(list(ours.parameters()), rule, schedule, METAPARAMETERS)
    sgd = torch.optim.SGD(
        theirs.parameters(), lr=0.05, momentum=0 if rule == "sgd" else 0.9, nesterov=rule == "nesterov"
    )
    for step, (images, labels) in enumerate(batches(12)):
        if schedule == "linear":
            # TensorFlow's polynomial_decay of power 1, as the release calls it.
            sgd.param_groups[0]["lr"] = (0.05 - 0.005) * (1 - min(step, 7) / 7) + 0.005
        for model in (ours, theirs):
            if model is theirs:
                sgd.zero_grad()
            else:
                optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
        optimizer.step(step)
        sgd.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_linear_decay_starts_at_the_rate_itself_and_stays_at_its_end():
    optimizer = Optimizer(list(network().parameters()), "sgd", "linear", METAPARAMETERS)
    assert optimizer.learning_rate(0) == 0.05
    assert optimizer.learning_rate(7) == pytest.approx(0.005, rel=1e-12)
    assert optimizer.learning_rate(1000) == optimizer.learning_rate(7)


def test_pruned_weights_stay_zero_and_the_rest_train_as_if_multiplied_by_the_mask():
    ours = network()
    masks = {
        p: torch.rand(p.shape, generator=torch.Generator().manual_seed(2)) > 0.5 for p in ours.parameters()
    }
    theirs = copy.deepcopy(ours)
    twins = dict(zip(theirs.parameters(), masks.values(), strict=True))
    optimizer = Optimizer(list(ours.parameters()), "nesterov", "constant", METAPARAMETERS, masks)
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    names = [name for name, _ in theirs.named_parameters()]
    for step, (images, labels) in enumerate(batches(5)):
        optimizer.zero_grad()
        cross_entropy(ours(images), labels).backward()
        optimizer.step(step)
        sgd.zero_grad()
        masked = {name: p * mask for name, (p, mask) in zip(names, twins.items(), strict=True)}
        cross_entropy(torch.func.functional_call(theirs, masked, (images,)), labels).backward()
        sgd.step()
    for p, (twin, mask) in zip(ours.parameters(), twins.items(), strict=True):
        assert not p[~mask].any()
        assert torch.equal(p[mask], twin[mask])


def test_missing_metaparameters_are_named():
    with pytest.raises(InputError, match="needs momentum"):
        Optimizer(list(network().parameters()), "momentum", "constant", {"learning_rate": 0.1})
