"""Maximum-likelihood c1/B + c2 and its profile-likelihood intervals, for many curves at once.

One scan over θ = log(c1/c2) answers everything. At each θ the curve is softplus(θ - log B) above its level
log c2, and the level has a range in which the objective stays under the cut, so the joint region is a band
over θ. The limits of log c2, of log c1 = θ + log c2 and of log K(B) are the extremes of that band, plus θ,
plus the rise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sparsefit.fitting.curves import Array, softplus
from sparsefit.fitting.likelihood import Rows, make_level
from sparsefit.fitting.search import find_minimum, find_root

REACH = 36.0
"""How far past the data, in log B, the scan goes: an end that is not met there is open."""

DRAWN = 12.0
"""How far past the data an open region is kept, for drawing."""

POINTS = 65
"""Points of θ across the region."""


@dataclass(frozen=True)
class Scan:
    """Fits and regions of C curves; an open end is infinite.

    Attributes
    ----------
    theta, level, noise, objective : ndarray, shape (C,)
        log(c1/c2), log c2, standard deviation of log K by maximum likelihood, and the objective there.
    theta_range, level_range, c1_range : ndarray, shape (C, 2)
        Intervals of log(c1/c2), log c2, log c1.
    grid, low, high : ndarray, shape (C, P)
        The joint region: a range of log c2 at each θ.
    """

    theta: Array
    level: Array
    noise: Array
    objective: Array
    theta_range: Array
    level_range: Array
    c1_range: Array
    grid: Array
    low: Array
    high: Array

    def outside(self, first: Array, last: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tell whether c1/c2 lies, or may lie without end, below and above the batch sizes measured.

        Parameters
        ----------
        first, last : ndarray, shape (C,)
            Logarithms of the smallest and largest batch size.

        Returns
        -------
        below, above : ndarray of bool, shape (C,)
            Where either holds, the data do not straddle c1/c2 and give a limit on one side only.
        """
        below = np.isinf(self.theta_range[:, 0]) | (self.theta < first)
        above = np.isinf(self.theta_range[:, 1]) | (self.theta > last)
        return below, above


def scan(rows: Rows, confidence: float) -> Scan:
    """Fit each curve and return its intervals.

    Parameters
    ----------
    rows : Rows
    confidence : float
        In (0, 1).
    """
    level = make_level(rows)
    x = rows.log_batch_size
    first = np.where(rows.weight > 0, x, np.inf).min(axis=1)
    last = np.where(rows.weight > 0, x, -np.inf).max(axis=1)
    grid = coarse_grid(first, last)

    def offset(theta: Array) -> Array:
        return softplus(theta[..., None] - x[:, None, :])

    def score(theta: Array) -> Array:
        at = theta[:, None]
        return level.score(offset(at), expit(at[..., None] - x[:, None, :]))[:, 0]

    values = level.profile(offset(grid)).objective
    theta = find_minimum(values, grid, score)
    best = level.profile(offset(theta[:, None]))
    objective = best.objective[:, 0]
    cut = level.cut(objective, confidence)

    def excess(at: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return level.profile(offset(at[:, None])).objective[:, 0] - cut

    here = excess(theta)
    ends = []
    for column, sign in ((0, -1.0), (-1, 1.0)):
        far = grid[:, column]
        outside = values[:, column] - cut
        closed = outside > 0
        root = find_root(excess, np.where(closed, far, theta), theta, np.where(closed, outside, here), here)
        ends.append(np.where(closed, root, sign * np.inf))
    theta_range = np.stack(ends, axis=1)
    inner = cosine_grid(
        np.maximum(theta_range[:, 0], np.minimum(first - DRAWN, theta)),
        np.minimum(theta_range[:, 1], np.maximum(last + DRAWN, theta)),
    )
    with np.errstate(invalid="ignore"):
        low, high = level.band(offset(inner), cut)
    return Scan(
        theta=theta,
        level=best.level[:, 0],
        noise=best.noise[:, 0],
        objective=objective,
        theta_range=theta_range,
        level_range=open_below(extremes(low, high), np.isinf(theta_range[:, 1])),
        c1_range=open_below(extremes(inner + low, inner + high), np.isinf(theta_range[:, 0])),
        grid=inner,
        low=low,
        high=high,
    )


def coarse_grid(first: Array, last: Array) -> Array:
    """Return θ from far before the data to far behind, dense around them, shape (C, P)."""
    before = first[:, None] - np.array([REACH, 20.0, DRAWN, 9.0])
    inside = np.linspace(first - 6, last + 6, 48, axis=1)
    behind = last[:, None] + np.array([9.0, DRAWN, 20.0, REACH])
    return np.concatenate([before, inside, behind], axis=1)


def cosine_grid(low: Array, high: Array) -> Array:
    """Return points from ``low`` to ``high`` that crowd at both ends, where the band closes, shape (C, P)."""
    share = (1 - np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))) / 2
    return low[:, None] + (high - low)[:, None] * share


def extremes(low: Array, high: Array) -> Array:
    """Return the least of ``low`` and the largest of ``high``, by a parabola through the extreme point."""
    return np.stack([-peak(-low), peak(high)], axis=1)


def peak(values: Array) -> Array:
    """Return the largest value of each row of a smooth function, by a parabola through it."""
    rows = np.arange(len(values))
    best = values.argmax(axis=1)
    centre = np.clip(best, 1, values.shape[1] - 2)
    left, middle, right = (values[rows, centre + shift] for shift in (-1, 0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # an open region has infinite limits
        bend = left - 2 * middle + right
        slope = (right - left) / 2
        top = middle - slope**2 / (2 * bend)
    inner = (best == centre) & (bend < 0) & np.isfinite(top)
    return np.where(inner, top, values[rows, best])


def open_below(limits: Array, unbounded: Array) -> Array:
    """Open the lower limit where the region runs to the θ = ±∞ at which the parameter vanishes.

    log c2 falls without end as θ → ∞ (the curve becomes c1/B), log c1 as θ → -∞ (it becomes c2).
    """
    return np.stack([np.where(unbounded, -np.inf, limits[:, 0]), limits[:, 1]], axis=1)
