"""How a batch lies in memory: strided (N, C, H, W), or in blocks of lanes (ceil(N / lanes), C, H, W, lanes).

In blocks, every shift of a kernel tap is a whole number of vectors, so kernels need no unaligned loads and no
masks at the borders. Lanes past N hold zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LANES = 16
"""Samples in a block; batches below that use the next power of two, so that no lane is idle for long."""


def lanes_for(n: int, least: int = 1) -> int:
    """Return the lanes of a block for a batch of n samples: 1, 2, 4, 8 or 16, and not below the least."""
    return next((lanes for lanes in (1, 2, 4, 8) if 0 < n <= lanes and lanes >= least), LANES)


def memory_format(tensor: Tensor) -> torch.memory_format:
    """Return channels_last for a tensor that lies so, else contiguous; outputs follow their input in this."""
    if tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format


def to_blocks(tensor: Tensor, lanes: int) -> Tensor:
    """Return (ceil(N / lanes), C, H, W, lanes) for (N, C, H, W); the lanes past N are zeros."""
    n, *rest = tensor.shape
    blocks = -(-n // lanes)
    padded = functional.pad(tensor, (0, 0, 0, 0, 0, 0, 0, blocks * lanes - n))
    return padded.reshape(blocks, lanes, *rest).permute(0, 2, 3, 4, 1).contiguous()


def from_blocks(data: Tensor, n: int) -> Tensor:
    """Return (N, C, H, W) for (ceil(N / lanes), C, H, W, lanes), dropping the lanes past N."""
    blocks, channels, height, width, lanes = data.shape
    return data.permute(0, 4, 1, 2, 3).reshape(blocks * lanes, channels, height, width)[:n].contiguous()


def zero_past(data: Tensor, n: int) -> Tensor:
    """Return the blocks with zeros in the lanes past N."""
    lanes = data.shape[-1]
    if n % lanes == 0:
        return data
    keep = torch.arange(lanes, device=data.device) < n % lanes
    return torch.cat([data[:-1], torch.where(keep, data[-1:], 0)])
