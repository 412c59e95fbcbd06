"""Swap the masked layers of a model for sparse ones, and say afterwards how each is computed."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterable, Mapping
from types import FunctionType, MethodType, ModuleType

import torch
from torch import Tensor, nn

from sparsefit.conv.layer import SparseConv2d, SparseLinear
from sparsefit.conv.mask import check_mask
from sparsefit.conv.masked_layer import SparseLayer
from sparsefit.errors import InputError

KINDS: dict[type[nn.Module], type[SparseConv2d] | type[SparseLinear]] = {
    nn.Conv2d: SparseConv2d,
    nn.Linear: SparseLinear,
}


TORCHS_OWN = frozenset(vars(nn.Module()))
"""Attributes of every module, in which torch keeps its children."""


def sparsify(model: nn.Module, masks: Mapping[str, Tensor], *, backend: str | None = None) -> nn.Module:
    """Return a copy of the model in which every layer that has a mask is sparse.

    The given model is not changed. Layers without a mask stay dense. Make optimizers afterwards: the
    parameters are new.

    Parameters
    ----------
    model : torch.nn.Module
        Any model.
    masks : mapping of str to Tensor
        Bool masks by the name of a layer ("features.0") or of its weight ("features.0.weight"). A mask for a
        bias ("features.0.bias") keeps all of it or removes all of it. Masks of other parameters that keep
        everything are passed over, so that what ``prune.masks(..., biases=False)`` returns can be given.
    backend : {"auto", "sparse", "dense"}, optional
        As in ``SparseConv2d.from_dense``.

    Raises
    ------
    InputError
        A name is not a Conv2d or Linear of the model, its mask or weight cannot be used, or the model holds
        the layer in a way that a swap would miss, as in a plain list.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"sparsify takes a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(masks, Mapping) or not all(isinstance(key, str) for key in masks):
        raise InputError("masks must be a dict from the name of a layer to its mask, as {'features.0': mask}")
    given = model
    try:
        model = copy.deepcopy(model)
    except Exception as error:
        raise InputError(
            f"the model cannot be copied ({error}): a layer that torch.nn.utils.prune has changed needs "
            "torch.nn.utils.prune.remove(layer, 'weight') first"
        ) from error
    layers = {
        name: module for name, module in model.named_modules(remove_duplicate=False) if type(module) in KINDS
    }
    weight_masks: dict[str, Tensor] = {}
    bias_masks: dict[str, Tensor] = {}
    for key, mask in masks.items():
        if _keeps_another_parameter(key, mask, layers, model):
            continue
        name, into = _find(key, layers, weight_masks, bias_masks)
        into[name] = mask
    swapped: dict[nn.Module, nn.Module] = {}
    for name, mask in bias_masks.items():
        _keep_or_drop_bias(layers[name], mask, name)
    for name, mask in weight_masks.items():
        layer = layers[name]
        _refuse_shared(model, layer, name)
        try:
            swapped[layer] = KINDS[type(layer)].from_dense(layer, mask, backend=backend)  # type: ignore[arg-type]
        except InputError as error:
            raise InputError(f"layer {name!r}: {error}") from error
    for parent in list(model.modules()):
        for child_name, child in list(parent._modules.items()):
            if child is not None and child in swapped:
                setattr(parent, child_name, swapped[child])
    _refuse_held(model, swapped, [given.get_submodule(name) for name in weight_masks])
    return swapped.get(model, model)


def explain(model: nn.Module) -> str:
    """Return a text of what the backend "auto" has chosen so far for each sparse layer of the model."""
    lines = []
    for name, layer in model.named_modules():
        if isinstance(layer, SparseLayer):
            lines.append(f"{name or type(layer).__name__}: {layer.extra_repr()}")
            made = layer.choice()
            lines.extend(f"    {choice}" for choice in made)
            if not made:
                lines.append(
                    "    nothing chosen yet: with the backend 'auto', the first call of each kind chooses"
                )
    return "\n".join(lines)


def _find(
    key: str, layers: dict[str, nn.Module], weights: dict[str, Tensor], biases: dict[str, Tensor]
) -> tuple[str, dict[str, Tensor]]:
    """Return the layer that a key names, and whether its weight or its bias is meant."""
    parent, _, last = key.rpartition(".")
    if last == "bias" and parent in layers:
        return parent, biases
    name = parent if last == "weight" and parent in layers else key
    if name not in layers:
        raise InputError(
            f"no Conv2d or Linear is named {key!r}; masks can go to: "
            f"{', '.join(map(repr, layers)) or 'no layer'}"
        )
    if any(layers[other] is layers[name] for other in weights):
        raise InputError(f"layer {name!r} has two masks: give one, by one of its names")
    return name, weights


def _keep_or_drop_bias(layer: nn.Module, mask: Tensor, name: str) -> None:
    bias = layer.bias
    if not isinstance(bias, Tensor):
        raise InputError(f"layer {name!r} has no bias, so it can have no mask for it")
    mask = check_mask(mask, bias, f"layer {name!r}, bias")
    if not mask.any():
        layer.register_parameter("bias", None)
    elif not mask.all():
        raise InputError(
            f"layer {name!r}: a bias is kept whole or removed whole, the mask keeps {int(mask.sum())} of "
            f"{mask.numel()}: freeze single entries with a hook on the gradient of the bias"
        )


def _keeps_another_parameter(key: str, mask: object, layers: dict[str, nn.Module], model: nn.Module) -> bool:
    """Whether a mask keeps all of a parameter that belongs to no layer of the kinds that can be sparse."""
    parent, _, _ = key.rpartition(".")
    is_other = parent not in layers and key not in layers and key in dict(model.named_parameters())
    return is_other and isinstance(mask, Tensor) and mask.dtype == torch.bool and bool(mask.all())


def _refuse_shared(model: nn.Module, layer: nn.Module, name: str) -> None:
    """Refuse to untie a parameter: two layers that share one must go on sharing it."""
    for other_name, other in model.named_modules():
        for part in ("weight", "bias"):
            own = layer._parameters.get(part)
            if other is not layer and any(p is own for p in other._parameters.values() if p is not None):
                raise InputError(
                    f"layer {name!r} shares its {part} with {other_name!r}: give each one of its own"
                )


def _refuse_held(model: nn.Module, swapped: Iterable[nn.Module], given: Iterable[nn.Module]) -> None:
    """Refuse a model that reaches a dense layer by a way of its own, which the swap did not change.

    A closure is not copied with the model, and so leads to the layers that were ``given``.
    """
    dense = {id(part) for layer in (*swapped, *given) for part in (layer, layer.weight)}
    seen = {id(module) for module in model.modules()}
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in TORCHS_OWN and _leads_to(value, dense, seen):
                raise InputError(
                    f"{attribute!r} of {name or type(module).__name__!r} holds a layer that has a mask, and "
                    "would hold it dense: make it an nn.ModuleList or nn.ModuleDict, or use the layer's name"
                )


def _leads_to(value: object, dense: set[int], seen: set[int]) -> bool:
    """Tell whether an object leads to one of these through containers, functions and plain objects."""
    todo = [value]
    while todo:
        value = todo.pop()
        if id(value) in dense:
            return True
        if id(value) in seen or isinstance(value, type | ModuleType | Tensor | str | bytes):
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            todo += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            todo += value
        elif isinstance(value, functools.partial):
            todo += [value.func, *value.args, *value.keywords.values()]
        elif isinstance(value, MethodType):
            todo.append(value.__self__)
        elif isinstance(value, FunctionType):
            for cell in value.__closure__ or ():
                with contextlib.suppress(ValueError):  # an empty cell
                    todo.append(cell.cell_contents)
        elif hasattr(value, "__dict__"):
            todo += vars(value).values()
    return False
