"""Metaparameters: the search space, and the Sobol points mapped into it as the release maps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsefit.errors import InputError
from sparsefit.experiment.sobol import bratley_fox, scrambled

if TYPE_CHECKING:
    from sparsefit.experiment.workload import Workload

SCALES = ("LOG_SCALE", "REVERSE_LOG_SCALE", "LINEAR_SCALE")
TYPES = ("DOUBLE", "INTEGER")

Setting = dict[str, float]
"""One trial's metaparameters by name; INTEGER ones are ints."""


@dataclass(frozen=True)
class Range:
    """Where one metaparameter is searched; field names are those of Shallue's ``parameter_configs``.

    Attributes
    ----------
    min_value, max_value : float
        Ends of the range.
    scale : str
        ``LOG_SCALE``: uniform in log10 x; ``REVERSE_LOG_SCALE``: uniform in log10(1 - x), u = 0 at the
        *largest* value; ``LINEAR_SCALE``.
    type : str
        ``DOUBLE`` or ``INTEGER`` (truncated).
    """

    min_value: float
    max_value: float
    scale: str = "LINEAR_SCALE"
    type: str = "DOUBLE"

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InputError(f"scale: got {self.scale!r}, allowed {', '.join(SCALES)}")
        if self.type not in TYPES:
            raise InputError(f"type: got {self.type!r}, allowed {', '.join(TYPES)}")
        if not (math.isfinite(self.min_value) and math.isfinite(self.max_value)):
            raise InputError(f"range {self.min_value} .. {self.max_value}: both ends must be finite")
        if self.min_value > self.max_value:
            raise InputError(f"range {self.min_value} .. {self.max_value}: min_value is above max_value")
        if self.scale == "LOG_SCALE" and self.min_value <= 0:
            raise InputError(f"min_value: got {self.min_value}, but LOG_SCALE needs values above 0")
        if self.scale == "REVERSE_LOG_SCALE" and self.max_value >= 1:
            raise InputError(f"max_value: got {self.max_value}, but REVERSE_LOG_SCALE needs values below 1")

    @property
    def ends(self) -> tuple[float, float]:
        """Least and largest value."""
        ends = (self.min_value, self.max_value)
        return (int(ends[0]), int(ends[1])) if self.type == "INTEGER" else ends

    def value(self, u: float) -> float:
        """Map a coordinate in [0, 1) to a value in the release's arithmetic, so that its numbers come out."""
        if self.scale == "LOG_SCALE":
            shift = math.log10(self.min_value)
            value = 10 ** (u * (math.log10(self.max_value) - shift) + shift)
        elif self.scale == "REVERSE_LOG_SCALE":
            shift = math.log10(1 - self.max_value)
            value = 1 - 10 ** (u * (math.log10(1 - self.min_value) - shift) + shift)
        else:
            value = u * (self.max_value - self.min_value) + self.min_value
        return int(value) if self.type == "INTEGER" else value


def sobol(workload: Workload, trials: int) -> list[Setting]:
    """Return the settings of trials 0 .. ``trials - 1``; a trial's setting does not depend on `trials`.

    The points are the release's (``sampling = "sobol"``) or scipy's scrambled ones (``"scrambled-sobol"``,
    with the workload's ``sampling_seed``); axes follow the order of the search space.
    """
    axes = len(workload.search_space)
    if workload.sampling == "sobol":
        points = bratley_fox(axes, trials)
    else:
        points = scrambled(axes, trials, workload.sampling_seed)
    return [setting(workload.search_space, point) for point in points.tolist()]


def setting(space: Mapping[str, Range], point: list[float]) -> Setting:
    """Map one point of the unit cube into the search space."""
    return {name: range_.value(u) for (name, range_), u in zip(space.items(), point, strict=True)}
