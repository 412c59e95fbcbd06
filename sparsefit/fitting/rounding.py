"""What rounding steps up to the next evaluation does to a row that counts by the middle of its interval."""

from __future__ import annotations

import numpy as np

from sparsefit.fitting.curves import Array

BLURRED = 0.3
"""Scatter, in evaluation intervals, from which rounding moves the mean of rows by a fifth of it at most."""


def blur(noise: float, lower: Array, upper: Array) -> Array:
    """Return the scatter of the steps in evaluation intervals, inf for exact rows.

    Parameters
    ----------
    noise : float
        Standard deviation of log K, without that of rounding.
    lower, upper : ndarray
        Ends of the interval of each row that reached the goal.
    """
    scatter = noise * (lower + upper) / 2
    return np.divide(scatter, upper - lower, out=np.full(len(upper), np.inf), where=upper > lower)


def rounding_error(noise: float, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Return how far rounding may move the log of each middle, and the standard deviation about that.

    The mean of a normal variable that is rounded to a grid of width d is off by a Fourier series in its place
    on the grid, by no more than -(d/π) log(1 - exp(-2π²s²/d²)), and by d/2 at most; rows of one K are all
    moved alike. Where the scatter s hides the grid, rounding adds d²/12 to the variance instead.
    """
    half = (upper - lower) / (lower + upper)
    with np.errstate(divide="ignore"):
        share = np.minimum(-2 / np.pi * np.log1p(-np.exp(-2 * (np.pi * blur(noise, lower, upper)) ** 2)), 1.0)
    return share * half, np.hypot(noise, (1 - share) * half / np.sqrt(3))
