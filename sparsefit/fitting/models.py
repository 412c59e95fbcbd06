"""The alternatives to c1/B + c2, fitted to the same rows by the same likelihood, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparsefit.fitting.curves import MODELS, RISES, Array
from sparsefit.fitting.intervals import REACH
from sparsefit.fitting.likelihood import CensoredLevel, ExactLevel, Rows, make_level
from sparsefit.fitting.results import ModelFit

SHAPES = (float(np.log(0.1)), float(np.log(20.0)))
"""Range of the logarithm of the shape k."""

POWERS = (-3.0, 3.0)
"""Range of the exponent of the power law; negative where steps grow with the batch size."""

COARSE, FINE, ROUNDS = {1: 193, 2: 49}, 13, 22
"""Points a side of the first grid, by the number of variables, and of the others; number of grids."""


def compare_models(rows: Rows) -> tuple[ModelFit, ...]:
    """Return every model of `MODELS` fitted to one curve, best AICc first.

    Parameters
    ----------
    rows : Rows
        Of one curve.
    """
    level = make_level(rows)
    count = float(rows.informative[0])
    found = []
    for name in MODELS:
        objective, parameters = fit_model(name, rows, level)
        log_l = float(level.log_likelihood(np.array([objective]))[0])
        found.append((name, parameters, log_l))
    scores = {name: aicc(log_l, count, MODELS[name]) for name, _, log_l in found}
    known = [score for score in scores.values() if score is not None]
    best = min(known, default=None)
    fits = []
    for name, parameters, log_l in found:
        score = scores[name]
        fits.append(
            ModelFit(
                name=name,
                aicc=score,
                delta_aicc=None if score is None or best is None else score - best,
                bic=-2 * log_l + (MODELS[name] + 1) * float(np.log(count)),
                parameters=parameters,
                log_likelihood=log_l,
            )
        )
    return tuple(sorted(fits, key=lambda fit: np.inf if fit.aicc is None else fit.aicc))


def aicc(log_likelihood: float, count: float, parameters: int) -> float | None:
    """Return Akaike's corrected criterion, the variance counted as a parameter; None with too few rows."""
    q = parameters + 1
    if count - q - 1 <= 0:
        return None
    return -2 * log_likelihood + 2 * q + 2 * q * (q + 1) / (count - q - 1)


def fit_model(name: str, rows: Rows, level: ExactLevel | CensoredLevel) -> tuple[float, dict[str, float]]:
    """Return the least objective of one model and its parameters in the units of the table."""
    x = rows.log_batch_size
    theta = theta_range(rows)
    shaped = MODELS[name] == 3
    ranges = {"constant": [(0.0, 0.0)], "linear": [(1.0, 1.0)], "power": [POWERS]}.get(name)
    if ranges is None:
        ranges = [theta, SHAPES] if shaped else [theta]

    def offset(points: Array) -> Array:
        if name not in RISES:
            return -points * x[:, None, :]
        shape = np.exp(points[:, :, 1:]) if shaped else 1.0
        return RISES[name](points[:, :, :1] - x[:, None, :], shape)

    at, objective = minimise(lambda points: level.profile(offset(points)).objective[0], ranges)
    top = float(level.profile(offset(at[None, None, :])).level[0, 0])
    return objective, name_parameters(name, top, *(float(v) for v in at))


def theta_range(rows: Rows) -> tuple[float, float]:
    """Return the range that θ is looked for in: the batch sizes of one curve, and far to both sides."""
    x = rows.log_batch_size[rows.weight > 0]
    return float(x.min()) - REACH / 3, float(x.max()) + REACH / 3


def name_parameters(name: str, top: float, first: float, second: float = 0.0) -> dict[str, float]:
    """Return the parameters of a model from its level and coordinates (θ or the power, log of the shape)."""
    with np.errstate(over="ignore"):
        level, k = float(np.exp(top)), float(np.exp(second))
        if name == "constant":
            return {"c2": level}
        if name == "linear":
            return {"c1": level}
        if name == "power":
            return {"c1": level, "exponent": first}
        if name == "envelope":  # level is c, θ is log b
            return {"c": level, "b": float(np.exp(first))}
        if name == "power_plateau":
            return {"c1": float(np.exp(top + k * first)), "c2": level, "exponent": k}
        found = {"c1": float(np.exp(top + first)), "c2": level}
        return {**found, "sharpness": k} if name == "smooth_knee" else found


def minimise(
    objective: Callable[[Array], Array], ranges: Sequence[tuple[float, float]]
) -> tuple[Array, float]:
    """Return the minimum of a function of one or two variables over a box, by ever narrower grids.

    Parameters
    ----------
    objective : callable
        Takes points of shape (1, P, D), returns shape (P,).
    ranges : sequence of (low, high)
        One a variable; D = 1 or 2.

    Notes
    -----
    The next grid reaches three steps to each side of the best point and is not kept inside the last, so a
    narrow slanted valley is followed rather than cut.
    """
    low, high = (np.array(end, dtype=float) for end in zip(*ranges, strict=True))
    centre, reach = (low + high) / 2, (high - low) / 2
    points_a_side, best = COARSE[len(ranges)], np.inf
    for _ in range(ROUNDS):
        axes = [
            np.clip(np.linspace(c - r, c + r, points_a_side), a, b)
            for c, r, a, b in zip(centre, reach, low, high, strict=True)
        ]
        points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)
        values = objective(points[None])
        values = np.where(np.isfinite(values), values, np.inf)
        if values.min() <= best:
            best, centre = float(values.min()), points[values.argmin()]
        reach = reach * 6 / (points_a_side - 1)
        points_a_side = FINE
    return centre, best
