"""The small records of a fit: an estimate, a regime, a model, a test, a region, a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.fitting.curves import log_steps

LEVEL = 0.01
"""Size of every test that rejects: a page has tens of them, so 5 % each would reject one by chance."""


@dataclass(frozen=True)
class Estimate:
    """A positive number with its confidence interval.

    Attributes
    ----------
    value : float or None
        Maximum-likelihood value; None where the data give a limit on one side only, or nothing.
    low, high : float or None
        Ends of the interval; None is an open end (0 or infinity).
    """

    value: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return ``{"value", "low", "high"}``."""
        return {"value": self.value, "low": self.low, "high": self.high}


UNKNOWN = Estimate(None, None, None)


@dataclass(frozen=True)
class Regime:
    """One stretch of the curve, by the share w = (c1/B)/(c1/B + c2) of the steps that more examples remove.

    Attributes
    ----------
    begins, ends : float or None
        Batch sizes between which the regime lies; None is an end that is open or not determined.
    n_batch_sizes : int
        Measured batch sizes that certainly lie in it.
    covered : bool
        Whether there is at least one.
    """

    begins: float | None
    ends: float | None
    n_batch_sizes: int
    covered: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class ModelFit:
    """One model of log K beside the others, on the same rows.

    Attributes
    ----------
    name : str
        See `sparsefit.fitting.curves.MODELS`.
    aicc, delta_aicc, bic : float or None
        Akaike's corrected criterion, its distance from the best model, and the Bayesian one; ``aicc`` is None
        where there are too few rows for the number of parameters.
    parameters : mapping of str to float
        Maximum-likelihood values, in the units of the table.
    log_likelihood : float
    """

    name: str
    aicc: float | None
    delta_aicc: float | None
    bic: float
    parameters: Mapping[str, float]
    log_likelihood: float

    def to_dict(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {
            "name": self.name,
            "aicc": self.aicc,
            "delta_aicc": self.delta_aicc,
            "bic": self.bic,
            "parameters": dict(self.parameters),
        }


@dataclass(frozen=True)
class RunsTest:
    """Signs of the log residuals over log B: few runs mean a systematic misfit of any size.

    Attributes
    ----------
    signs : str
        One ``+`` or ``-`` a batch size, smallest first.
    runs : int
    p_value : float or None
        Chance of so few runs in a random order; None where all signs agree.
    """

    signs: str
    runs: int
    p_value: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class LackOfFit:
    """F test of the curve against one mean per batch size, from replicates.

    Attributes
    ----------
    f, p_value : float
    df_lack, df_error : int
        Batch sizes less the two parameters; rows less batch sizes.
    """

    f: float
    p_value: float
    df_lack: int
    df_error: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Region:
    """Points on the edge of the joint confidence region of log c1 and log c2.

    The extremes over them of any function that rises or falls with both are its profile-likelihood interval.

    Attributes
    ----------
    log_c1, log_c2 : ndarray, shape (P,)
        Where the region has no end, as c2 or c1 vanishes, its last points have -inf for it.
    """

    log_c1: NDArray[np.float64]
    log_c2: NDArray[np.float64]

    def steps(self, batch_size: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the interval of K = c1/B + c2 at each batch size, shapes (M,)."""
        found = log_steps(np.log(batch_size), self.log_c1[:, None], self.log_c2[:, None])
        return np.exp(found.min(axis=0)), np.exp(found.max(axis=0))

    def to_dict(self) -> dict[str, list[float | None]]:
        """Return ``c1`` and ``c2`` of the points; None is infinite."""
        with np.errstate(over="ignore"):
            ends = {"c1": np.exp(self.log_c1), "c2": np.exp(self.log_c2)}
        return {name: [v if np.isfinite(v) else None for v in part.tolist()] for name, part in ends.items()}


@dataclass(frozen=True)
class Prediction:
    """Steps-to-result at given batch sizes, with the profile interval of the curve (not of a new run).

    Attributes
    ----------
    batch_size, steps : ndarray, shape (M,)
    low, high : ndarray, shape (M,)
        NaN where the data give no interval at all.
    """

    batch_size: NDArray[np.float64]
    steps: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
