"""One call of a layer: what all its passes need to know.

A layer of a few microseconds has no time to check its sizes again and again, so what follows from them is
worked out once for each size (`Problem`) and looked up afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import Tensor

from sparsefit.conv.geometry import Geometry
from sparsefit.conv.mask import shape_text
from sparsefit.errors import InputError


class Problem:
    """A layer on an input of one shape.

    Attributes
    ----------
    geometry : Geometry
    samples : int
        Batch size.
    size, output_size : (int, int)
        Height and width of the input and of the output.
    density : float
        Share of kept weights.
    output_shape : tuple of int
        Shape of the output and of its gradient, in the layout of the input.
    weight_shape : tuple of int
        Shape of the dense weight: (C_out, C_in / groups, kh, kw), or (C_out, C_in) for an input (N, C_in).
    dense_only : frozenset of str
        Passes that the kernels leave to torch: of a layer without weights there is nothing to walk, and
        backward_input lists every tap for every phase of the stride.
    chosen : dict
        What "auto" has chosen, by direction, layout and threads; filled by ``dispatch``.
    """

    def __init__(self, geometry: Geometry, input_shape: Sequence[int], n: int | None, nnz: int) -> None:
        self.geometry = geometry
        self.samples = input_shape[0] if n is None else n
        self.size = spatial_size(input_shape)
        self.output_size = geometry.output_size(*self.size)
        self.density = nnz / max(geometry.weight_count, 1)
        self.output_shape = (
            (input_shape[0], geometry.c_out)
            if len(input_shape) == 2
            else (input_shape[0], geometry.c_out, *self.output_size, *input_shape[4:])
        )
        self.weight_shape = geometry.weight_shape[: 2 if len(input_shape) == 2 else 4]
        self.dense_only = _dense_only(geometry)
        self.chosen: dict[tuple[str, str, int], bool] = {}
        if min(self.output_size) < 1:
            raise InputError(
                f"a kernel of {geometry.kh}×{geometry.kw} "
                f"(dilation {geometry.dilation_h}×{geometry.dilation_w}) does not fit into an input of "
                f"{self.size[0]}×{self.size[1]} with its padding: pad more or enlarge it"
            )


def _dense_only(geometry: Geometry) -> frozenset[str]:
    if geometry.weight_count == 0:
        return frozenset(("forward", "backward_input", "backward_weight"))
    phases = geometry.stride_h * geometry.stride_w
    entries = phases * geometry.kh * geometry.kw * geometry.c_out // geometry.groups
    too_many = entries > MOST_ENTRIES or phases > MOST_PHASES
    return frozenset(("backward_input",) if too_many else ())


@functools.lru_cache(maxsize=4096)
def problem(geometry: Geometry, input_shape: Sequence[int], n: int | None, nnz: int) -> Problem:
    """Return the problem of an input of this shape.

    Raises
    ------
    InputError
        The input has other channels, or is too small.
    """
    if input_shape[1] != geometry.c_in:
        wanted = (geometry.c_in, *input_shape[2:4])
        raise InputError(
            f"input must have (channels, height, width) = {shape_text(wanted)}, "
            f"got {shape_text(input_shape[1:4])}"
        )
    return Problem(geometry, input_shape, n, nnz)


MOST_ENTRIES = 1 << 20
"""Taps and phases that backward_input may list, at 16 bytes each: those of 16×16 patches with 768 outputs
would take 768 MiB."""
MOST_PHASES = 65_535
"""Phases of the stride in one launch on a GPU: an axis of its grid."""
CALL_SCHEMA = "Tensor positions, Tensor pattern, SymInt[] geometry, SymInt? n, str backend"
"""The parts of a `Call`, as arguments of an operator."""


class Call:
    """One call of a layer.

    Parameters
    ----------
    positions : Tensor
        Flat indices of the kept weights, int64 (nnz,).
    pattern : Tensor
        The same as the core wants it, int32.
    geometry : Geometry
    n : int or None
        Samples of blocked operands; None for strided ones, (N, C, H, W) or, where H = W = 1, (N, C).
    backend : str
        A name from ``dispatch.BACKENDS``.
    """

    __slots__ = ("_problem", "_values", "_weight", "backend", "geometry", "n", "pattern", "positions")

    def __init__(
        self, positions: Tensor, pattern: Tensor, geometry: Geometry, n: int | None, backend: str
    ) -> None:
        self.positions = positions
        self.pattern = pattern
        self.geometry = geometry
        self.n = n
        self.backend = backend
        self._problem: Problem | None = None
        self._values: Tensor | None = None
        self._weight: Tensor | None = None

    @classmethod
    def of(
        cls, positions: Tensor, pattern: Tensor, geometry: Sequence[int], n: int | None, backend: str
    ) -> Call:
        """Return the call that has these parts."""
        return cls(positions, pattern, Geometry(*geometry), n, backend)

    @property
    def parts(self) -> tuple[Tensor, Tensor, Geometry, int | None, str]:
        """What an operator is given."""
        return self.positions, self.pattern, self.geometry, self.n, self.backend

    @property
    def sized(self) -> Problem:
        """The problem that all passes of this call share; `size` came first."""
        assert self._problem is not None
        return self._problem

    def size(self, input_shape: Sequence[int]) -> Problem:
        """Return the problem that all passes of this call share, given the shape of its input."""
        if self._problem is None:
            self._problem = problem(self.geometry, tuple(input_shape), self.n, self.positions.shape[0])
        return self._problem

    @property
    def has_dense_weight(self) -> bool:
        """Whether a pass has made the dense weight already."""
        return self._weight is not None

    def forget_dense_weight(self) -> None:
        """Make the next pass that needs the dense weight pay for it."""
        self._weight = self._values = None

    def dense_weight(self, values: Tensor) -> Tensor:
        """Return the weight with zeros between the values; forward makes it, the gradient finds it again.

        That it is still right is seen to by torch, which lets no saved tensor be changed before its gradient
        is taken; so for values that are not saved, there must be another call.
        """
        if self._weight is None or self._values is not values:
            self._weight = values.new_zeros(self.sized.weight_shape)
            # In place: half the time of `packed.scatter`, which functorch and autograd can follow.
            self._weight.view(-1).scatter_(0, self.positions, values)
            self._values = values
        return self._weight


def spatial_size(shape: Sequence[int]) -> tuple[int, int]:
    """Return (H, W) of a strided or blocked operand of this shape; (N, C) has one pixel."""
    return (shape[2], shape[3]) if len(shape) > 2 else (1, 1)
