"""Curves of steps-to-result against batch size; pure functions, each with its source.

Every curve with a plateau is one level plus one function of z = θ - log B, log K = level + rise(z), with θ
the log of a batch size: θ = log(c1/c2) for Equation 6. `RISES` holds these functions.
Equation numbers are those of Lee et al., arXiv 2003.11316.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Array = NDArray[np.float64]
LOG2 = float(np.log(2.0))


def softplus(z: ArrayLike) -> Array:
    """Return log(1 + e^z) without overflow."""
    z = np.asarray(z, dtype=float)
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def log_steps(log_batch_size: ArrayLike, log_c1: float, log_c2: float) -> Array:
    """Return log K* of Equation 6 from logarithms; its gradient is (w, 1 - w), w of `linear_share`."""
    return np.logaddexp(log_c1 - np.asarray(log_batch_size, dtype=float), log_c2)


def linear_share(batch_size: ArrayLike, c1: float, c2: float) -> Array:
    """Return w = (c1/B)/(c1/B + c2), the share of the steps that a larger batch still removes."""
    return expit(np.log(c1) - np.log(c2) - np.log(np.asarray(batch_size, dtype=float)))


class Rise(NamedTuple):
    """How far log K stands above its level, and the slope, as functions of z = θ - log B and a shape k."""

    value: Callable[[Array, Array | float], Array]
    slope: Callable[[Array, Array | float], Array]


def _envelope(z: Array, _: Array | float) -> Array:
    inside = np.minimum(z, -LOG2)
    return np.where(z >= -LOG2, 2 * LOG2 + z, -np.log1p(-np.exp(inside)))


def _envelope_slope(z: Array, _: Array | float) -> Array:
    inside = np.exp(np.minimum(z, -LOG2))
    return np.where(z >= -LOG2, 1.0, inside / (1.0 - inside))


RISES: dict[str, Rise] = {
    # c1/B + c2, Equation 6
    "hyperbola": Rise(lambda z, _: softplus(z), lambda z, _: expit(z)),
    # c1/B^k + c2 with c1 = c2 e^(kθ)
    "power_plateau": Rise(lambda z, k: softplus(k * z), lambda z, k: k * expit(k * z)),
    # ((c1/B)^k + c2^k)^(1/k): k = 1 is the hyperbola, k < 1 a softer knee, k > 1 a sharper one
    "smooth_knee": Rise(lambda z, k: softplus(k * z) / k, lambda z, k: expit(k * z)),
    # max(c1/B, c2), the limit k → ∞
    "two_segments": Rise(lambda z, _: np.maximum(z, 0.0), lambda z, _: (z > 0).astype(float)),
    # least K of Equation 2 over 0 < η ≤ 1/L, no Taylor step: 4cb/B to B = 2b, then cB/(B - b); θ = log b
    "envelope": Rise(_envelope, _envelope_slope),
}

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
