"""A number with its interval, and the intervals of means and of ratios over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Quantity:
    """A number, its confidence interval, and from how many observations it comes.

    Attributes
    ----------
    value : float
    low, high : float or None
        Ends of the interval; None where nothing tells them.
    n : int or None
        Seeds, or examples for a single estimate; None where a file does not say.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return ``{"value", "low", "high", "n"}``."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def mean_interval(values: ArrayLike, confidence: float = 0.95, *, exhaustive: bool = False) -> Quantity:
    """Return the mean with Student's t interval.

    Parameters
    ----------
    values : array_like, shape (n,)
        Independent observations.
    confidence : float
    exhaustive : bool
        The values are the whole population: the interval is the mean itself.
    """
    x = np.asarray(values, dtype=float)
    mean = float(x.mean())
    if exhaustive:
        return Quantity(mean, mean, mean, len(x))
    if len(x) < 2:
        return Quantity(mean, n=len(x))
    half = float(stats.t.ppf((1 + confidence) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Quantity(mean, mean - half, mean + half, len(x))


def geometric_mean(values: Sequence[float], confidence: float = 0.95) -> Quantity:
    """Return the geometric mean with Student's t interval of the mean logarithm.

    Parts, their products and their ratios over seeds then agree exactly: the ratio of two means is the
    mean of the paired ratios. The scatter of the values holds the sampling error of each of them as well.

    Parameters
    ----------
    values : sequence of float
        Positive, one a seed.
    confidence : float
    """
    log = mean_interval(np.log(values), confidence)
    low, high = (None if end is None else float(np.exp(end)) for end in (log.low, log.high))
    return Quantity(float(np.exp(log.value)), low, high, log.n)
