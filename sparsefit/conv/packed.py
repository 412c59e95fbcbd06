"""Packed weights: the values that are kept, and where they are.

Per-weight numbers are one-dimensional and ordered by the flat index of the weight in
``(C_out, C_in / groups, kh, kw)``, ascending: ``weight[mask]``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsefit.conv.kernels import load_core


def positions(mask: Tensor) -> Tensor:
    """Return the flat indices of the kept weights, ascending, as int64 (nnz,)."""
    return mask.flatten().nonzero().flatten()


def pattern(mask: Tensor, groups: int) -> Tensor:
    """Return the core's own form of the positions: an int32 tensor on the device of the mask.

    Parameters
    ----------
    mask : Tensor
        Bool, (C_out, C_in / groups, kh, kw).
    groups : int
        Groups of the convolution.
    """
    packed = load_core().pack(mask.cpu().numpy(), groups)
    return torch.from_numpy(packed).to(mask.device)


def gather(dense: Tensor, positions: Tensor) -> Tensor:
    """Return the kept numbers (nnz,) of a dense weight or of its gradient."""
    return dense.reshape(-1).index_select(0, positions)


def scatter(values: Tensor, positions: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the dense weight of this shape: the values at their positions, zeros elsewhere."""
    flat = values.new_zeros(shape).view(-1)
    return flat.scatter(0, positions, values).view(shape)
