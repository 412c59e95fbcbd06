"""Pruning criteria: what each parameter is worth at initialisation.

Each takes a model, the names of the parameters to score, and (by keyword) the data set, the indices of the
examples, the batch size of the criterion and a seed, of which it uses what it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from sparsefit.experiment.data import DataSet

Saliency = dict[str, Tensor]

GRASP_TEMPERATURE = 200.0
"""Logits are divided by this, as Wang et al.'s code does."""

SYNFLOW_KEEP = 10 ** (-1 / 100)
"""Share of the weights that survive one round: 100 rounds a factor of 10, as in Tanaka et al."""

SYNFLOW_ROUNDS = 300
"""Down to a thousandth of the weights; the scores of the last round order what is left."""


def snip(
    model: nn.Module,
    names: Sequence[str],
    *,
    dataset: DataSet,
    indices: NDArray[np.int64],
    batch: int,
    **_: Any,
) -> Saliency:
    """Return |sum over batches of d loss / d mask| = |w · sum of gradients| (Lee et al. 2019).

    As in the release, the absolute value comes after the sum. The release then divides by the total, which
    changes no order and is left out.
    """
    parameters = trainable(model)
    gradients = sum_gradients(model, parameters, names, dataset, indices, batch)
    return {name: (parameters[name].detach().double() * gradients[name]).abs() for name in names}


def grasp(
    model: nn.Module,
    names: Sequence[str],
    *,
    dataset: DataSet,
    indices: NDArray[np.int64],
    batch: int,
    **_: Any,
) -> Saliency:
    """Return w · (H g), largest kept: removing it would lower the gradient flow most (Wang et al. 2020)."""
    parameters = trainable(model)
    first = sum_gradients(model, parameters, names, dataset, indices, batch, GRASP_TEMPERATURE)
    direction = {name: gradient.float() for name, gradient in first.items()}
    second = sum_gradients(model, parameters, names, dataset, indices, batch, GRASP_TEMPERATURE, direction)
    return {name: parameters[name].detach().double() * second[name] for name in names}


def synflow(model: nn.Module, names: Sequence[str], *, dataset: DataSet, **_: Any) -> Saliency:
    """Return the order in which synaptic flow removes parameters (Tanaka et al. 2020); needs no examples.

    Each round scores |w| · dR/d|w|, R being the sum of the outputs for an image of ones, and removes the
    lowest. A parameter's saliency is its place in the order of removal, so the masks are nested: the rounds
    are fixed and a sparsity stops them, where the authors stretch the rounds to the sparsity.
    """
    parameters = {name: p.detach().abs().double() for name, p in model.named_parameters()}
    buffers = {name: b.double() if b.is_floating_point() else b for name, b in model.named_buffers()}
    ones = torch.ones(1, *dataset.input_shape, dtype=torch.float64)
    alive = torch.ones(sum(parameters[name].numel() for name in names), dtype=torch.bool)
    order = torch.zeros(len(alive), dtype=torch.float64)
    for _round in range(SYNFLOW_ROUNDS):
        leaves = {name: parameters[name].requires_grad_() for name in names}
        flow = functional_call(model, {**parameters, **leaves, **buffers}, (ones,)).sum()
        gradients = torch.autograd.grad(flow, [leaves[name] for name in names], materialize_grads=True)
        score = torch.cat([(leaves[n].detach() * g).flatten() for n, g in zip(names, gradients, strict=True)])
        if not (score.any() and score.isfinite().all()):
            # At first there is no order to be had (the caller says why); later no path is left to cut.
            return split_like(score if alive.all() else order, parameters, names)
        score[~alive] = -1.0
        keep = int(alive.sum() * SYNFLOW_KEEP)
        ranking = torch.sort(score, descending=True, stable=True).indices
        survivors = int(alive.sum())
        order[ranking[:survivors]] = torch.arange(len(alive), len(alive) - survivors, -1, dtype=torch.float64)
        alive[ranking[keep:]] = False
        if keep == 0:
            break
        offset = 0
        for name in names:
            size = parameters[name].numel()
            kept = alive[offset : offset + size].reshape(parameters[name].shape)
            parameters[name] = parameters[name].detach() * kept
            offset += size
    return split_like(order, parameters, names)


def magnitude(model: nn.Module, names: Sequence[str], **_: Any) -> Saliency:
    """Return |w|."""
    parameters = dict(model.named_parameters())
    return {name: parameters[name].detach().double().abs() for name in names}


def random(model: nn.Module, names: Sequence[str], *, seed: int, **_: Any) -> Saliency:
    """Return uniform random numbers that depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    return {
        name: torch.rand(parameters[name].shape, generator=generator, dtype=torch.float64) for name in names
    }


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """Return detached copies of the parameters that record gradients, so that the model is left alone."""
    return {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}


def sum_gradients(
    model: nn.Module,
    parameters: dict[str, Tensor],
    names: Sequence[str],
    dataset: DataSet,
    indices: NDArray[np.int64],
    batch: int,
    temperature: float = 1.0,
    direction: Saliency | None = None,
) -> Saliency:
    """Return the sum over batches of the gradient of their mean loss, or of its Hessian times `direction`.

    Sums over batches are float64. A batch is also what memory holds at once.
    """
    total = {name: torch.zeros_like(parameters[name], dtype=torch.float64) for name in names}
    leaves = [parameters[name] for name in names]
    for start in range(0, len(indices), batch):
        block = torch.from_numpy(indices[start : start + batch])
        logits = functional_call(model, parameters, (dataset.train_images[block],)) / temperature
        loss = cross_entropy(logits, dataset.train_labels[block])
        gradients = torch.autograd.grad(
            loss, leaves, create_graph=direction is not None, materialize_grads=True
        )
        if direction is not None:
            products = [(g * direction[name]).sum() for g, name in zip(gradients, names, strict=True)]
            gradients = torch.autograd.grad(torch.stack(products).sum(), leaves, materialize_grads=True)
        for name, gradient in zip(names, gradients, strict=True):
            total[name] += gradient
    return total


def split_like(flat: Tensor, parameters: dict[str, Tensor], names: Sequence[str]) -> Saliency:
    """Cut a flat vector into tensors of the parameters' shapes."""
    parts = flat.split([parameters[name].numel() for name in names])
    return {name: part.reshape(parameters[name].shape) for name, part in zip(names, parts, strict=True)}
