"""Pruning at initialisation: saliencies, and the masks that keep the largest.

Every criterion gives each prunable parameter a saliency; a mask keeps the kappa = round(n (1 - sparsity))
largest of the whole network. So the masks of one model and seed are nested over sparsity.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsefit.errors import InputError
from sparsefit.experiment.data import DataSet
from sparsefit.experiment.saliency import grasp, magnitude, random, snip, synflow

Masks = dict[str, Tensor]
"""Bool tensors by parameter name; True keeps. Every parameter of the model has one."""

Criterion = Callable[..., dict[str, Tensor]]

METHODS: dict[str, Criterion] = {
    "snip": snip,
    "grasp": grasp,
    "synflow": synflow,
    "magnitude": magnitude,
    "random": random,
}
"""Pruning criteria by name."""

SCOPES = ("all", "one-batch")
"""Training examples that SNIP and GraSP see: all, as in the release, or 100, as in the SNIP paper."""

BATCH = 100
"""Examples whose mean loss is one term of the saliency."""


def saliencies(
    model: nn.Module,
    dataset: DataSet,
    indices: NDArray[np.int64],
    *,
    method: str = "snip",
    scope: str = "all",
    biases: bool = True,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Compute the saliency of every prunable parameter.

    Parameters
    ----------
    model : torch.nn.Module
        Freshly initialised; it is not changed.
    dataset : DataSet
    indices : ndarray of int64
        Training examples in the order of `data.ExampleOrder.pruning`.
    method : {"snip", "grasp", "synflow", "magnitude", "random"}
    scope : {"all", "one-batch"}
        Whether the criterion sees all `indices` or the first 100.
    biases : bool
        Whether biases compete with the weights.
    seed : int
        Of ``random``, and of models that draw numbers, as dropout does.

    Returns
    -------
    dict of str to Tensor
        float64, by parameter name, weights first, then biases: the order in which ties are broken.

    Raises
    ------
    InputError
        Unknown method or scope, a model without Conv2d and Linear layers, saliencies that are not finite.
    """
    if method not in METHODS:
        raise InputError(f"pruning: got {method!r}, allowed {', '.join(METHODS)}")
    if scope not in SCOPES:
        raise InputError(f"pruning_scope: got {scope!r}, allowed {', '.join(SCOPES)}")
    names = prunable(model, biases=biases)
    if scope == "one-batch":
        indices = indices[:BATCH]
    # A copy, since functional_call leaves plain tensors behind in a module that occurs twice.
    model = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = METHODS[method](model, names, dataset=dataset, indices=indices, batch=BATCH, seed=seed)
    for name, saliency in found.items():
        if not torch.isfinite(saliency).all():
            raise InputError(
                f"{method}: the saliency of {name} is not finite; the model returns NaN or overflows at "
                "initialisation: check its initial weights and the range of its inputs"
            )
    if not any(saliency.any() for saliency in found.values()):
        raise InputError(
            f"{method}: every saliency is 0: nothing tells the parameters apart; do the weights start at 0?"
        )
    return found


def top(model: nn.Module, saliency: Mapping[str, Tensor], sparsity: float) -> Masks:
    """Keep the largest saliencies of the whole network; equal ones in the order of the mapping.

    Parameters
    ----------
    model : torch.nn.Module
        Gives names and shapes; parameters without a saliency are kept whole and not counted.
    saliency : mapping of str to Tensor
        What `saliencies` returned.
    sparsity : float
        Share of the prunable parameters to remove, in [0, 1).

    Raises
    ------
    InputError
        A sparsity outside [0, 1), or one that would keep nothing; saliencies that are NaN or those of another
        model.
    """
    n = sum(values.numel() for values in saliency.values())
    kept = kappa(n, sparsity)
    masks = keep_all(model)
    for name, values in saliency.items():
        if name not in masks or values.shape != masks[name].shape:
            own = f"of shape {tuple(masks[name].shape)}" if name in masks else "absent"
            raise InputError(
                f"saliency of {name!r}: got one of shape {tuple(values.shape)}, in the model it is {own}"
            )
        if values.isnan().any():
            raise InputError(f"saliency of {name!r}: got NaN, which has no place among the largest")
    flat = torch.cat([values.flatten() for values in saliency.values()])
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[torch.sort(flat, descending=True, stable=True).indices[:kept]] = True
    sizes = [values.numel() for values in saliency.values()]
    for (name, values), part in zip(saliency.items(), chosen.split(sizes), strict=True):
        masks[name] = part.reshape(values.shape)
    return masks


def masks(
    model: nn.Module,
    dataset: DataSet,
    indices: NDArray[np.int64],
    sparsity: float,
    **options: Any,
) -> Masks:
    """Return the masks of one sparsity; `options` are those of `saliencies`.

    Sparsity 0 keeps everything, biases included, and looks at no example. For several sparsities of one
    model, call `saliencies` once and `top` for each.
    """
    if sparsity == 0:
        return keep_all(model)
    return top(model, saliencies(model, dataset, indices, **options), sparsity)


def keep_all(model: nn.Module) -> Masks:
    """Return masks that keep every parameter."""
    return {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}


def kappa(n: int, sparsity: float) -> int:
    """Return how many of `n` parameters are kept: round(n (1 - sparsity)), halves to even."""
    check_sparsity(sparsity)
    kept = round(n * (1.0 - sparsity))
    if not kept:
        raise InputError(f"sparsity {sparsity:g} keeps none of {n} parameters; choose a smaller one")
    return kept


def check_sparsity(sparsity: float) -> None:
    """Refuse a sparsity outside [0, 1)."""
    if not 0 <= sparsity < 1:
        raise InputError(
            f"sparsity: got {sparsity:g}, allowed 0 (dense) up to, not including, 1 (nothing would be left); "
            "it is the share of zeros, not percent"
        )


def prunable(model: nn.Module, *, biases: bool) -> list[str]:
    """Return the names of the weights of every Conv2d and Linear, then (`biases`) of their biases."""
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    if not layers:
        raise InputError("the model has no Conv2d or Linear layer, so there is nothing to prune")
    weights = [f"{name}.weight".removeprefix(".") for name, _ in layers]
    names = [f"{name}.bias".removeprefix(".") for name, layer in layers if layer.bias is not None]
    found = weights + names if biases else weights
    own = {name for name, _ in model.named_parameters()}
    if shared := [name for name in found if name not in own]:
        raise InputError(
            f"{shared[0]} is no parameter of that layer alone: another layer has it too, or it is computed, "
            "as by weight_norm; to be pruned, a layer needs one of its own"
        )
    return found


def apply(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the pruned parameters to 0, in place; the masks are those of all parameters of this model."""
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if name not in masks or masks[name].shape != parameter.shape:
            raise InputError(f"masks: got none for {name!r} of shape {tuple(parameter.shape)}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.mul_(masks[name])
