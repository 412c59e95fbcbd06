"""Masks: which weights of a layer are kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsefit.errors import InputError


def check_mask(mask: Tensor, weight: Tensor, name: str) -> Tensor:
    """Return a contiguous copy of a mask that fits the weight, or say what is wrong with it.

    Parameters
    ----------
    mask : Tensor
        Bool, shape of the weight, on the device of the weight; True keeps.
    weight : Tensor
        The dense weight.
    name : str
        What the mask is for, as the user knows it; begins the message.

    Raises
    ------
    InputError
        The mask is not a bool tensor, or its shape or device is not that of the weight.
    """
    if not isinstance(mask, Tensor):
        raise InputError(
            f"{name}: a mask is a bool tensor, got {type(mask).__name__}: "
            "pass torch.as_tensor(mask, dtype=torch.bool)"
        )
    check_tensor(f"{name}: a mask", mask)
    if mask.dtype != torch.bool:
        raise InputError(
            f"{name}: a mask is a bool tensor, got dtype {mask.dtype}: pass mask != 0 or mask.bool()"
        )
    if mask.shape != weight.shape:
        raise InputError(
            f"{name}: the mask must have the shape of the weight {shape_text(weight.shape)}, "
            f"got {shape_text(mask.shape)}"
        )
    if mask.device != weight.device:
        raise InputError(
            f"{name}: mask and weight must be on one device, got {mask.device} and {weight.device}: "
            f"mask.to('{weight.device}')"
        )
    if mask.device.type == "meta":
        raise InputError(
            f"{name}: a mask on the meta device has no content: build the layer on a real device"
        )
    return mask.detach().clone(memory_format=torch.contiguous_format)


def check_tensor(what: str, x: object) -> None:
    """Refuse what is no strided tensor."""
    if not isinstance(x, Tensor):
        raise InputError(f"{what} takes a tensor, got {type(x).__name__}: pass torch.as_tensor(x)")
    if x.layout != torch.strided:
        raise InputError(f"{what} takes a dense tensor, got one with layout {x.layout}: pass x.to_dense()")


def shape_text(shape: Sequence[int]) -> str:
    """Return "(3, 4)" for a shape, which torch would print as "torch.Size([3, 4])"."""
    return str(tuple(shape))
