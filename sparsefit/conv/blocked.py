"""A batch in blocks of lanes, and the operations that leave it there.

``model(to_blocked(x))`` runs a chain of sparse layers, ReLUs, poolings and additions without a way back to
(N, C, H, W) in between; ``from_blocked`` brings the result back. Plain torch code works on a ``Blocked``:
``functional.relu``, ``max_pool2d``, ``avg_pool2d``, ``adaptive_avg_pool2d`` to 1×1, ``+``, ``flatten`` and
the modules made of them, and dense ``conv2d`` and ``linear``, which go out of the blocks and back in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree

from sparsefit.conv import layout
from sparsefit.conv.mask import shape_text
from sparsefit.errors import InputError


@dataclass(frozen=True, eq=False)
class Blocked:
    """A batch of n samples in batch-innermost blocks.

    Attributes
    ----------
    data : Tensor
        (ceil(n / lanes), C, H, W, lanes), or (ceil(n / lanes), F, lanes) when flattened; lanes past n hold
        zeros.
    n : int
        Number of samples.
    """

    data: Tensor
    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch that this stands for: (n, C, H, W) or (n, F)."""
        return (self.n, *self.data.shape[1:-1])

    @property
    def ndim(self) -> int:
        """Dimensions of the batch that this stands for."""
        return self.data.ndim - 1

    @property
    def lanes(self) -> int:
        """Samples in a block."""
        return self.data.shape[-1]

    def spatial(self) -> Tensor:
        """Return the data if it is (blocks, C, H, W, lanes), else say what is wrong."""
        if self.data.ndim != 5:
            raise InputError(f"this needs a blocked (N, C, H, W), got a flattened {shape_text(self.shape)}")
        return self.data

    def flatten(self, start_dim: int = 1, end_dim: int = -1) -> Blocked:
        """Return the batch as (n, C·H·W), without a copy."""
        return flatten(self, start_dim, end_dim)

    def __add__(self, other: Blocked) -> Blocked:
        return add(self, other)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Let functions of torch take a ``Blocked`` where a blocked form of them exists."""
        handler = _HANDLERS.get(func)
        if handler is None:
            name = getattr(func, "__name__", str(func))
            raise InputError(
                f"torch's {name} has no form for a blocked batch; there are relu, max_pool2d, avg_pool2d, "
                "adaptive_avg_pool2d to 1×1, add, flatten, conv2d and linear: leave the blocks first, with "
                "from_blocked"
            )
        return handler(*args, **(kwargs or {}))


_pytree.register_pytree_node(
    Blocked,
    lambda batch: ([batch.data], batch.n),
    lambda leaves, n: Blocked(next(iter(leaves)), n),
    serialized_type_name="sparsefit.conv.Blocked",
)


def to_blocked(x: Tensor) -> Blocked:
    """Return a batch (N, C, H, W) or (N, F), of any strides, in blocks of 16 lanes, or fewer if N < 16."""
    if x.dim() not in (2, 4):
        raise InputError(f"to_blocked takes (N, C, H, W) or (N, F), got {shape_text(x.shape)}")
    n = x.shape[0]
    lanes = layout.lanes_for(n)
    if x.dim() == 4:
        return Blocked(layout.to_blocks(x, lanes), n)
    return Blocked(layout.to_blocks(x[:, :, None, None], lanes)[:, :, 0, 0], n)


def from_blocked(x: Blocked) -> Tensor:
    """Return the batch as a contiguous (N, C, H, W) or (N, F)."""
    if x.ndim == 4:
        return layout.from_blocks(x.data, x.n)
    return layout.from_blocks(x.data[:, :, None, None], x.n)[:, :, 0, 0]


def relu(x: Blocked, inplace: bool = False) -> Blocked:
    """Return max(x, 0)."""
    return Blocked(functional.relu(x.data, inplace), x.n)


def add(x: Blocked, y: Blocked) -> Blocked:
    """Return the sum of two batches of one shape, as at the end of a residual block."""
    if not isinstance(x, Blocked) or not isinstance(y, Blocked) or x.shape != y.shape:
        raise InputError(f"add takes two blocked batches of one shape, got {_describe(x)} and {_describe(y)}")
    return Blocked(x.data + y.data, x.n)


def add_bias(x: Blocked, bias: Tensor) -> Blocked:
    """Return the batch plus a number per channel (C,)."""
    if bias.shape != x.shape[1:2]:
        raise InputError(
            f"a bias for {_describe(x)} must have shape ({x.shape[1]},), got {shape_text(bias.shape)}"
        )
    column = bias.view(-1, *(1,) * (x.ndim - 1))
    return Blocked(layout.zero_past(x.data + column, x.n), x.n)


def max_pool2d(
    x: Blocked,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Blocked:
    """Return the maxima of windows, as ``torch.nn.functional.max_pool2d``."""
    if return_indices:
        raise InputError("max_pool2d of a blocked batch returns no indices: call it on from_blocked(x)")
    # A 3-D pooling whose third axis is the lanes.
    pooled = functional.max_pool3d(
        x.spatial(),
        _window(kernel_size),
        None if stride is None or stride == [] else _window(stride),
        _window(padding, 0),
        _window(dilation),
        ceil_mode,
    )
    return Blocked(pooled, x.n)


def avg_pool2d(
    x: Blocked,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Blocked:
    """Return the means of windows, as ``torch.nn.functional.avg_pool2d``."""
    pooled = functional.avg_pool3d(
        x.spatial(),
        _window(kernel_size),
        None if stride is None or stride == [] else _window(stride),
        _window(padding, 0),
        ceil_mode,
        count_include_pad,
        divisor_override,
    )
    return Blocked(pooled, x.n)


def global_avg_pool(x: Blocked) -> Blocked:
    """Return the mean over all pixels as (N, C, 1, 1)."""
    return Blocked(x.spatial().mean((2, 3), keepdim=True), x.n)


def flatten(x: Blocked, start_dim: int = 1, end_dim: int = -1) -> Blocked:
    """Return (N, C·H·W), without a copy."""
    if start_dim != 1 or end_dim not in (-1, x.ndim - 1):
        raise InputError(
            f"a blocked batch is flattened from dimension 1 to the last, got {start_dim} to {end_dim}: "
            "leave the blocks first, with from_blocked"
        )
    return Blocked(x.data.flatten(1, -2), x.n)


def _window(size: int | Sequence[int], lanes: int = 1) -> tuple[int, int, int]:
    """Return (height, width, lanes) for the argument of a 2-D pooling."""
    numbers = (size,) if isinstance(size, int) else tuple(size)
    return (numbers[0], numbers[-1], lanes)


def _describe(x: object) -> str:
    shape = getattr(x, "shape", None)
    return f"{type(x).__name__}" if shape is None else f"{type(x).__name__} {shape_text(shape)}"


def _adaptive_avg_pool2d(x: Blocked, output_size: int | Sequence[int | None]) -> Blocked:
    if output_size not in (1, (1, 1), [1, 1]):
        raise InputError(
            f"adaptive_avg_pool2d of a blocked batch goes to 1×1, got {output_size}: use avg_pool2d"
        )
    return global_avg_pool(x)


def _outside(function: Callable) -> Callable:
    """Make a dense function of torch take a blocked batch: out of the blocks and back in."""
    return lambda x, *args, **kwargs: to_blocked(function(from_blocked(x), *args, **kwargs))


_HANDLERS: dict[Callable, Callable] = {
    functional.relu: relu,
    torch.relu: relu,
    torch.add: add,
    torch.max_pool2d: max_pool2d,  # what functional.max_pool2d calls itself in eager code, and next in dynamo
    functional.max_pool2d: max_pool2d,
    functional.avg_pool2d: avg_pool2d,
    functional.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    torch.flatten: flatten,
    torch.conv2d: _outside(torch.conv2d),
    functional.linear: _outside(functional.linear),
}
