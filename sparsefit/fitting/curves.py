"""Curves of steps-to-result against batch size; pure functions, each with its source.

Every curve with a plateau is one level plus one function of z = θ - log B, log K = level + rise(z), with θ
the log of a batch size: θ = log(c1/c2) for Equation 6. `RISES` holds these functions.
Equation numbers are those of Lee et al., arXiv 2003.11316.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Array = NDArray[np.float64]
LOG2 = float(np.log(2.0))


def softplus(z: ArrayLike) -> Array:
    """Return log(1 + e^z) without overflow: np.logaddexp(0, z), in half the time."""
    z = np.asarray(z, dtype=float)
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def log_steps(log_batch_size: ArrayLike, log_c1: ArrayLike, log_c2: ArrayLike) -> Array:
    """Return log K* of Equation 6 from logarithms; its gradient is (w, 1 - w), w of `linear_share`."""
    return np.logaddexp(np.asarray(log_c1) - np.asarray(log_batch_size, dtype=float), log_c2)


def linear_share(batch_size: ArrayLike, c1: float, c2: float) -> Array:
    """Return w = (c1/B)/(c1/B + c2), the share of the steps that a larger batch still removes."""
    return expit(np.log(c1) - np.log(c2) - np.log(np.asarray(batch_size, dtype=float)))


def _envelope(z: Array, _: Array | float) -> Array:
    inside = np.minimum(z, -LOG2)
    return np.where(z >= -LOG2, 2 * LOG2 + z, -np.log1p(-np.exp(inside)))


RISES: dict[str, Callable[[Array, Array | float], Array]] = {
    # c1/B + c2, Equation 6
    "hyperbola": lambda z, _: softplus(z),
    # c1/B^k + c2 with c1 = c2 e^(kθ)
    "power_plateau": lambda z, k: softplus(k * z),
    # ((c1/B)^k + c2^k)^(1/k): k = 1 is the hyperbola, k < 1 a softer knee, k > 1 a sharper one
    "smooth_knee": lambda z, k: softplus(k * z) / k,
    # max(c1/B, c2), the limit k → ∞
    "two_segments": lambda z, _: np.maximum(z, 0.0),
    # least K of Equation 2 over 0 < η ≤ 1/L, no Taylor step: 4cb/B to B = 2b, then cB/(B - b); θ = log b
    "envelope": _envelope,
}
"""How far log K stands above its level, as a function of z = θ - log B and a shape k."""

MODELS: dict[str, int] = {
    "hyperbola": 2,
    "constant": 1,
    "linear": 1,
    "power": 2,
    "power_plateau": 3,
    "smooth_knee": 3,
    "two_segments": 2,
    "envelope": 2,
}
"""Models of log K and their numbers of parameters, the variance not counted."""
