"""The shape that curves share: the exponent of c1/B^a + c2, or the sharpness of the smooth knee."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from sparsefit.fitting.curves import RISES, Array
from sparsefit.fitting.likelihood import Rows, make_level
from sparsefit.fitting.models import SHAPES, theta_range
from sparsefit.fitting.results_records import Estimate

START, NEAR, ROUNDS = 33, 9, 6
"""Points of θ: over its whole range, then round after round from one neighbour of the best to the other."""

COARSE, FINE = 25, 17
"""Shapes over the whole range, and over the interval."""


class Shape(NamedTuple):
    """The shape of one curve or of many.

    Attributes
    ----------
    estimate : Estimate
        An end outside the range of shapes, 0.1 to 20, is open.
    p_value : float
        Chance of a shape so far from 1 if 1 is the truth.
    """

    estimate: Estimate
    p_value: float


def fit_shapes(model: str, curves: Sequence[Rows], confidence: float) -> tuple[Shape, list[Shape]]:
    """Return the shape that all curves share, and the shape of each alone.

    Parameters
    ----------
    model : {"power_plateau", "smooth_knee"}
        Both are c1/B + c2 where the shape is 1.
    curves : sequence of Rows
        Each of one curve, which has its own c1, c2 and noise, and at least 4 rows that reached the goal.
    confidence : float

    Notes
    -----
    The deviance of n rows counts n - 2 times, since a level and a place were fitted to them. Its excess over
    the minimum is, for one curve, a function of Student's t with n - 3 degrees of freedom. For several it is
    taken as t squared with the degrees of freedom of the shortest curve, since noises known that badly weigh
    the curves against each other; ``benchmarks/validate.py`` measures how often the verdict is right.
    """
    grid = np.linspace(*SHAPES, COARSE)
    known = np.stack([deviance(model, rows, grid) for rows in curves])
    alone = [find(model, [rows], grid, own, confidence) for rows, own in zip(curves, known, strict=True)]
    return find(model, curves, grid, known.sum(axis=0), confidence), alone


def find(model: str, curves: Sequence[Rows], grid: Array, known: Array, confidence: float) -> Shape:
    """Return the shape of curves together from their deviance on a coarse grid of its logarithm."""
    free = min(float(rows.informative[0]) for rows in curves) - 2
    limit = float(stdtrit(free - 1, (1 + confidence) / 2)) ** 2

    def squared_t(excess: Array) -> Array:
        return (free - 1) * np.expm1(excess / free) if len(curves) == 1 else excess

    def together(at: Array) -> Array:
        return np.asarray(np.sum([deviance(model, rows, at) for rows in curves], axis=0))

    while True:
        t2 = squared_t(known - known.min())
        inside = np.flatnonzero(t2 <= limit)
        if len(inside) >= FINE // 3:
            break
        ends = grid[max(inside[0] - 1, 0)], grid[min(inside[-1] + 1, len(grid) - 1)]
        # Two wells far apart leave the ends where they are: then only more points tell.
        stuck = ends == (grid[0], grid[-1])
        grid = np.linspace(*ends, 2 * len(grid) if stuck else FINE)
        known = together(grid)
    t2_at_one = squared_t(np.maximum(together(np.zeros(1)) - known.min(), 0.0))

    def end(within: int, without: int) -> float | None:
        if not 0 <= without < len(grid):
            return None
        pair = [within, without]
        return float(np.exp(np.interp(np.sqrt(limit), np.sqrt(t2[pair]), grid[pair])))

    low, high = end(inside[0], inside[0] - 1), end(inside[-1], inside[-1] + 1)
    best = int(t2.argmin())
    top = grid[best]
    if 0 < best < len(grid) - 1:
        square, slope, _ = np.polyfit(grid[best - 1 : best + 2] - top, t2[best - 1 : best + 2], 2)
        top -= slope / (2 * square) if square > 0 else 0.0
    chance = 2 * stdtr(free - 1, -np.sqrt(t2_at_one[0]))
    return Shape(Estimate(float(np.exp(top)), low, high), float(chance))


def deviance(model: str, rows: Rows, log_shapes: Array) -> Array:
    """Return (n - 2)/n of the least -2 log L of n rows at each shape, over θ, level and noise, shape (P,)."""
    level, count = make_level(rows), float(rows.informative[0])
    x = rows.log_batch_size[:, None, :]
    low, high = theta_range(rows)
    theta = np.linspace(low, high, START)[:, None] + np.zeros(len(log_shapes))
    step = (high - low) / (START - 1)
    for _ in range(1 + ROUNDS):
        shapes = np.broadcast_to(np.exp(log_shapes), theta.shape)
        offset = RISES[model](theta.reshape(1, -1, 1) - x, shapes.reshape(1, -1, 1))
        values = -2 * level.log_likelihood(level.profile(offset).objective).reshape(theta.shape)
        best = np.take_along_axis(theta, values.argmin(axis=0)[None], axis=0)
        theta = best + np.linspace(-step, step, NEAR)[:, None]
        step *= 2 / (NEAR - 1)
    return np.asarray((1 - 2 / count) * values.min(axis=0))
