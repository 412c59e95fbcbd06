"""Swap the masked layers of a model for sparse ones, and say afterwards how each is computed."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from sparsefit.conv.layer import SparseConv2d, SparseLayer, SparseLinear
from sparsefit.conv.mask import check_mask
from sparsefit.errors import InputError

KINDS: dict[type[nn.Module], type[SparseConv2d] | type[SparseLinear]] = {
    nn.Conv2d: SparseConv2d,
    nn.Linear: SparseLinear,
}


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
        bias ("features.0.bias") keeps all of it or removes all of it.
    backend : {"auto", "sparse", "dense"}, optional
        As in ``SparseConv2d.from_dense``.

    Raises
    ------
    InputError
        A name is not a Conv2d or Linear of the model, or its mask or weight cannot be used.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"sparsify takes a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(masks, Mapping) or not all(isinstance(key, str) for key in masks):
        raise InputError("masks must be a dict from the name of a layer to its mask, as {'features.0': mask}")
    model = copy.deepcopy(model)
    layers = {
        name: module for name, module in model.named_modules(remove_duplicate=False) if type(module) in KINDS
    }
    weight_masks: dict[str, Tensor] = {}
    bias_masks: dict[str, Tensor] = {}
    for key, mask in masks.items():
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
    if name in weights:
        raise InputError(f"layer {name!r} has two masks: give one, by layer or by weight")
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


def _refuse_shared(model: nn.Module, layer: nn.Module, name: str) -> None:
    """Refuse to untie a weight: two layers that share one must go on sharing it."""
    for other_name, other in model.named_modules():
        if other is not layer and any(
            other_weight is layer.weight for other_weight in other._parameters.values()
        ):
            raise InputError(
                f"layer {name!r} shares its weight with {other_name!r}: give them weights of their own"
            )
