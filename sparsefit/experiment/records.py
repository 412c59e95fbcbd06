"""What passes between schedule, engine, trial and store; free of torch, as reading a store is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STATUSES = ("reached", "not_reached", "diverged", "capped")
"""How a trial ends; `capped`: stopped below the maximal number of steps because that was enough."""


class Study(NamedTuple):
    """One batch size at one sparsity, all trials of it."""

    sparsity: float
    batch_size: int


class TrialSpec(NamedTuple):
    """What a worker is asked to run: one trial of one study, up to the step `limit`."""

    study: Study
    trial: int
    limit: int

    @property
    def seed(self) -> int:
        """Seed of the initial weights and hence of the mask."""
        return self.trial

    @property
    def order_seed(self) -> int | None:
        """None: the release's order of examples, the same for all trials."""
        return None

    def __str__(self) -> str:
        """Name the trial in words."""
        return f"trial {self.trial} at batch size {self.study.batch_size}, sparsity {self.study.sparsity:g}"


class RepeatSpec(NamedTuple):
    """The setting of a trial to be run again with a fresh `seed`, of the weights and of the order alike."""

    study: Study
    trial: int
    limit: int
    seed: int

    @property
    def order_seed(self) -> int:
        """Seed of the order of examples."""
        return self.seed

    def __str__(self) -> str:
        """Name the repeat in words."""
        return f"{TrialSpec(*self[:3])}, seed {self.seed}"


class End(NamedTuple):
    """How a trial ended, and at which step.

    The step is for ``reached`` that of the first check that met the goal, for ``diverged`` the one whose loss
    was not finite, else the last one made.
    """

    status: str
    step: int


@dataclass(frozen=True)
class TrialEnd:
    """What one run of a trial left.

    Attributes
    ----------
    end : End
    samples : int
        Examples trained on.
    seconds, check_seconds : float
        Processor time of the run, whatever else the machine does; the part of it that went to goal checks.
    checks, evaluated, floor : int
        Goal checks; validation examples that they evaluated; the fewest that any exact check needs.
    curve : ndarray of shape (checks, 4), or None
        Step, loss of the last batch, validation error, validation loss.
    """

    end: End
    samples: int
    seconds: float
    check_seconds: float
    checks: int
    evaluated: int
    floor: int
    curve: NDArray[np.float64] | None = None
