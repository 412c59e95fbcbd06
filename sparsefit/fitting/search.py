"""Roots and minima of many functions of one variable at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsefit.fitting.curves import Array

TOLERANCE = 1e-11


def find_root(f: Callable[[Array], Array], a: Array, b: Array, fa: Array, fb: Array) -> Array:
    """Return a root of each function in its bracket, by Chandrupatla's method.

    Parameters
    ----------
    f : callable
        Takes and returns shape (C,).
    a, b : ndarray, shape (C,)
        Ends of the brackets.
    fa, fb : ndarray, shape (C,)
        Values there, of opposite sign; where they are not, the end with the smaller one is returned.

    Notes
    -----
    T. R. Chandrupatla, Advances in Engineering Software 28 (1997) 145-149: inverse quadratic interpolation
    where it is safe, bisection elsewhere.
    """
    best = np.where(np.abs(fa) < np.abs(fb), a, b)
    open_ = (np.sign(fa) * np.sign(fb) < 0) & np.isfinite(fa) & np.isfinite(fb)
    a, b, c, fa, fb, fc = b, a, b, fb, fa, fb
    t = np.full_like(a, 0.5)
    for _ in range(100):
        if not open_.any():
            break
        x = a + t * (b - a)
        fx = f(x)
        same = np.sign(fx) == np.sign(fa)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        nearer = np.abs(fa) < np.abs(fb)
        best = np.where(open_, np.where(nearer, a, b), best)
        gap = np.abs(b - a)
        limit = TOLERANCE * np.maximum(1.0, np.abs(best)) / np.maximum(gap, 1e-300)
        open_ = open_ & (limit < 0.5) & (np.where(nearer, fa, fb) != 0)
        with np.errstate(all="ignore"):
            xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
            quadratic = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
            t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        t = np.where(quadratic & np.isfinite(t), t, 0.5)
        t = np.clip(t, np.minimum(limit, 0.5), np.maximum(1 - limit, 0.5))
    return best


def find_minimum(values: Array, grid: Array, slope: Callable[[Array], Array]) -> Array:
    """Return the lowest minimum of each function, from its values on a grid and its derivative.

    Parameters
    ----------
    values, grid : ndarray, shape (C, P)
        Grid points increase along the second axis.
    slope : callable
        Derivative, takes and returns shape (C,).

    Returns
    -------
    ndarray, shape (C,)
        An end of the grid where the lowest value lies there.
    """
    rows = np.arange(len(grid))
    best = values.argmin(axis=1)
    inner = (best > 0) & (best < grid.shape[1] - 1)
    middle = grid[rows, best]
    at = slope(middle)
    other = grid[rows, np.clip(best + np.where(at > 0, -1, 1), 0, grid.shape[1] - 1)]
    root = find_root(slope, middle, other, at, slope(other))
    return np.where(inner, root, middle)
