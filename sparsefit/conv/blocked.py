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

from sparsefit.conv import blocked_op, cuda, layout
from sparsefit.conv.kernels import handles
from sparsefit.conv.mask import check_tensor, shape_text
from sparsefit.conv.registration import has_no_rules
from sparsefit.errors import InputError

LANES_ALLOWED = (1, 2, 4, 8, layout.LANES)


FORMS: dict[Callable, Callable] = {}
"""What a function of torch does on a ``Blocked``; `form_of` fills it."""


def form_of(*functions: Callable) -> Callable[[Callable], Callable]:
    """Make the function below the blocked form of functions of torch."""

    def register(form: Callable) -> Callable:
        FORMS.update(dict.fromkeys(functions, form))
        return form

    return register


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

    def __post_init__(self) -> None:
        # Compilers and pytrees put what they like in the place of the tensor.
        if not isinstance(self.data, Tensor):
            return
        shape, n = self.data.shape, self.n
        if len(shape) not in (3, 5) or shape[-1] not in LANES_ALLOWED:
            raise InputError(
                "a blocked batch is (blocks, C, H, W, lanes) or (blocks, F, lanes) with "
                f"{', '.join(map(str, LANES_ALLOWED))} lanes, got {shape_text(shape)}: "
                "make it with to_blocked"
            )
        lanes = shape[-1]
        if n < 0 or shape[0] != -(-n // lanes) or (lanes < LANES_ALLOWED[-1] and n > lanes):
            raise InputError(
                f"{n} samples cannot lie in {shape[0]} blocks of {lanes} lanes: "
                "blocks of 16, or one block of fewer lanes, hold as many; make it with to_blocked"
            )

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

    def dim(self) -> int:
        """Return the dimensions of the batch that this stands for, as a tensor does."""
        return self.ndim

    def spatial(self) -> Tensor:
        """Return the data if it is (blocks, C, H, W, lanes), else say what is wrong."""
        if self.data.ndim != 5:
            raise InputError(f"this needs a blocked (N, C, H, W), got a flattened {shape_text(self.shape)}")
        return self.data

    def flatten(self, start_dim: int = 1, end_dim: int = -1) -> Blocked:
        """Return the batch as (n, C·H·W), without a copy; unlike torch's, it never flattens the samples."""
        return flatten(self, start_dim, end_dim)

    def __add__(self, other: Blocked) -> Blocked:
        return add(self, other)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Let functions of torch take a ``Blocked`` where a blocked form of them exists."""
        handler = FORMS.get(func)
        if handler is None:
            name = getattr(func, "__name__", str(func))
            raise InputError(
                f"torch's {name} has no form for a blocked batch; there are relu, max_pool2d, avg_pool2d, "
                "adaptive_avg_pool2d to 1×1, add, pad, flatten, conv2d and linear: leave the blocks first, "
                "with from_blocked"
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
    check_tensor("to_blocked", x)
    if x.dim() not in (2, 4):
        raise InputError(f"to_blocked takes (N, C, H, W) or (N, F), got {shape_text(x.shape)}")
    if torch.jit.is_tracing():
        raise InputError(
            "torch.jit.trace cannot record a blocked batch, whose lanes depend on its size: trace the model "
            "on strided tensors, or use torch.export"
        )
    n = x.shape[0]
    to_blocks = blocked_op.to_blocks if has_kernels(x) else layout.to_blocks
    lanes = layout.lanes_for(n, cuda.LEAST_LANES if cuda.is_on(x) else 1)
    data = to_blocks(x if x.dim() == 4 else x[:, :, None, None], lanes)
    return Blocked(data if x.dim() == 4 else data[:, :, 0, 0], n)


def from_blocked(x: Blocked) -> Tensor:
    """Return the batch as a contiguous (N, C, H, W) or (N, F)."""
    if not isinstance(x, Blocked):
        raise InputError(f"from_blocked takes a Blocked batch, got {describe(x)}")
    from_blocks = blocked_op.from_blocks if has_kernels(x.data) else layout.from_blocks
    if x.ndim == 4:
        return from_blocks(x.data, x.n)
    return from_blocks(x.data[:, :, None, None], x.n)[:, :, 0, 0]


@form_of(torch.relu, functional.relu)
def relu(x: Blocked, inplace: bool = False) -> Blocked:
    """Return max(x, 0)."""
    return Blocked(functional.relu(x.data, inplace), x.n)


@form_of(torch.flatten)
def _flatten(x: Blocked, start_dim: int = 0, end_dim: int = -1) -> Blocked:
    return flatten(x, start_dim, end_dim)  # torch's own default is refused there


@form_of(torch.add)
def _add(x: Blocked, y: Blocked, *, alpha: float = 1) -> Blocked:
    if alpha != 1:
        raise InputError(f"blocked batches are added as they are, got alpha={alpha}: scale one before")
    return add(x, y)


def add(x: Blocked, y: Blocked) -> Blocked:
    """Return the sum of two batches of one shape, as at the end of a residual block."""
    if not isinstance(x, Blocked) or not isinstance(y, Blocked) or x.shape != y.shape:
        raise InputError(f"add takes two blocked batches of one shape, got {describe(x)} and {describe(y)}")
    return Blocked(x.data + y.data, x.n)


def add_bias(x: Blocked, bias: Tensor) -> Blocked:
    """Return the batch plus a number per channel (C,)."""
    if bias.shape != x.shape[1:2]:
        raise InputError(
            f"a bias for {describe(x)} must have shape ({x.shape[1]},), got {shape_text(bias.shape)}"
        )
    column = bias.view(-1, *(1,) * (x.ndim - 1))
    return Blocked(layout.zero_past(x.data + column, x.n), x.n)


def flatten(x: Blocked, start_dim: int = 1, end_dim: int = -1) -> Blocked:
    """Return (N, C·H·W), without a copy."""
    if start_dim != 1 or end_dim not in (-1, x.ndim - 1):
        raise InputError(
            f"a blocked batch is flattened from dimension 1 to the last, got {start_dim} to {end_dim}: "
            "leave the blocks first, with from_blocked"
        )
    return Blocked(x.data.flatten(1, -2), x.n)


@form_of(functional.pad)
def pad(x: Blocked, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Blocked:
    """Return the batch with zeros around pixels and channels, as ``torch.nn.functional.pad``."""
    if mode != "constant" or value or len(pad) > 2 * (x.ndim - 1):
        raise InputError(
            f"a blocked batch is padded with zeros, not along N; got {tuple(pad)}, {mode!r}, value {value}: "
            "leave the blocks first, with from_blocked"
        )
    return Blocked(functional.pad(x.data, (0, 0, *pad)), x.n)


def has_kernels(tensor: Tensor) -> bool:
    """Whether the core's operators take such a tensor, here and now."""
    return handles(tensor) and not has_no_rules()


def describe(x: object) -> str:
    """Return type and shape of an argument, for a message."""
    shape = getattr(x, "shape", None)
    return f"{type(x).__name__}" if shape is None else f"{type(x).__name__} {shape_text(shape)}"


def outside(function: Callable) -> Callable:
    """Make a dense function of torch take a blocked batch: out of the blocks and back in."""
    return lambda input, *args, **kwargs: to_blocked(function(from_blocked(input), *args, **kwargs))


FORMS.update({function: outside(function) for function in (torch.conv2d, functional.linear)})
