"""Does K* = c1/B + c2 describe these rows: consistent, rejected or undetermined, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
from scipy.special import fdtrc, ncfdtr

from sparsefit.fitting.curves import Array, softplus
from sparsefit.fitting.results import LackOfFit, ModelFit, RunsTest, Verdict
from sparsefit.fitting.results_records import LEVEL

LIMITS = {"power_plateau": 4.0, "smooth_knee": 4.0, "power": 8.0, "two_segments": 8.0, "envelope": 8.0}
"""AICc by which an alternative must be better for the curve to be rejected.

Those with as many parameters as the curve do not contain it, and are better by chance more often. The
constant and c1/B, which are limits of the curve, reject nothing.
"""

LEAST_BATCH_SIZES = 6
GRID_UNITS = 3.0
"""Evaluation intervals that the plateau must hold: below, rounding sets c2; up to 4 there is a warning."""

SOFTER = 0.7
"""Sharpness of the smooth knee that the power of the verdict is stated for."""

LEAST_POWER, LOW_POWER = 0.1, 0.5
"""Chance to catch that knee: below the first the data cannot judge, below the second the reason says so."""


def judge(
    models: Sequence[ModelFit],
    *,
    n_batch_sizes: int,
    undetermined: str | None,
    grid_units: float | None,
    lack_of_fit: LackOfFit | None,
    power: float | None,
) -> tuple[Verdict, str]:
    """Return the verdict and its reason.

    Parameters
    ----------
    models : sequence of ModelFit
    n_batch_sizes : int
        Distinct batch sizes that reached the goal.
    undetermined : str or None
        Why c1/c2 has no value; None where it has one.
    grid_units : float or None
        c2 over the evaluation interval.
    lack_of_fit : LackOfFit or None
    power : float or None
        Chance that a knee of sharpness 0.7 would be rejected; under 10 % nothing is decided, under 50 % the
        reason says it.
    """
    if grid_units is not None and grid_units < GRID_UNITS:
        return "undetermined", undetermined or (
            f"The plateau c2 is {grid_units:.1f} evaluation intervals high, so rounding sets it; "
            f"evaluate more often, so that it holds at least {GRID_UNITS:.0f}."
        )
    rival, margin, limit = nearest(models)
    if margin is not None and margin <= -limit:
        return "rejected", f"{describe(rival)} fits better by {-margin:.1f} AICc (limit {limit:.0f})."
    if lack_of_fit is not None and lack_of_fit.p_value < LEVEL:
        return "rejected", (
            f"The curve misses the means of the replicates by more than their scatter allows "
            f"(F = {lack_of_fit.f:.2f}, p = {lack_of_fit.p_value:.3g})."
        )
    if undetermined is not None:
        return "undetermined", undetermined
    if n_batch_sizes < LEAST_BATCH_SIZES:
        return "undetermined", (
            f"{n_batch_sizes} batch sizes that reached the goal cannot tell the curve from its alternatives; "
            f"measure at least {LEAST_BATCH_SIZES}."
        )
    if margin is None:
        return "undetermined", "There are too few rows to compare the curve with its alternatives."
    if margin <= 0:
        short = f", short of the limit of {limit:.0f}" if np.isfinite(limit) else ""
        return "undetermined", f"{describe(rival)} fits better by {-margin:.1f} AICc{short}."
    missed = (
        ""
        if power is None
        else f"a softer knee (p = {SOFTER}) would be rejected in {power:.0%} of cases only"
    )
    if power is not None and power < LEAST_POWER:
        return "undetermined", (
            f"No alternative fits better, but {missed} at this noise; measure more batch sizes or replicates."
        )
    said = f"No alternative fits better: {describe(rival, 'a')} comes closest, {margin:.1f} AICc behind."
    if power is not None and power < LOW_POWER:
        said += f" At this noise {missed}."
    return "consistent", said


def grid_units(size: Array, lower: Array, upper: Array, log_c1: float, log_c2: float) -> float | None:
    """Return how many evaluation intervals the plateau c2 holds; None where its rows are exact.

    The interval is the widest of the rows on the plateau (B ≥ c1/c2) that reached the goal, or without such
    rows of those at the largest batch size: they set c2.
    """
    reached = np.isfinite(upper)
    size, interval = size[reached], (upper - lower)[reached]
    widest = interval[size >= min(np.exp(min(log_c1 - log_c2, 700.0)), size.max())].max()
    return float(np.exp(log_c2) / widest) if widest > 0 else None


def nearest(models: Sequence[ModelFit]) -> tuple[ModelFit | None, float | None, float]:
    """Return the alternative that says most against the curve, its AICc less the curve's, and its limit.

    That is the one furthest beyond its limit, or if none is, the one with the least AICc. Nothing is known
    where the rows are too few to compare the curve with the alternatives that contain it.
    """
    found = {model.name: model for model in models}
    own = found["hyperbola"].aicc if "hyperbola" in found else None
    if own is None or container(models) is None:
        return None, None, np.inf
    margins = {
        name: model.aicc - own
        for name, model in found.items()
        if name != "hyperbola" and model.aicc is not None
    }
    beyond = {name: margins[name] + limit for name, limit in LIMITS.items() if name in margins}
    name = min(beyond, key=lambda each: beyond[each])
    if beyond[name] > 0:
        name = min(margins, key=lambda each: margins[each])
    return found[name], margins[name], LIMITS.get(name, np.inf)


def container(models: Sequence[ModelFit]) -> ModelFit | None:
    """Return the better of the two models that contain the curve; None where rows are too few for them."""
    rivals = [m for m in models if m.name in ("power_plateau", "smooth_knee") and m.aicc is not None]
    return min(rivals, key=lambda model: model.aicc or 0.0, default=None)


def describe(model: ModelFit | None, article: str = "A") -> str:
    """Return a model in words, with its shape; "a" as article where no sentence begins."""
    if model is None:
        return f"{article}n alternative"
    the = "The" if article == "A" else "the"
    if model.name == "smooth_knee":
        sharpness = model.parameters["sharpness"]
        word = "softer" if sharpness < 1 else "sharper"
        return f"{article} {word} knee (p = {sharpness:.2f})"
    if model.name == "power_plateau":
        return f"c1/B^a + c2 with a = {model.parameters['exponent']:.2f}"
    if model.name == "power":
        return f"{the} power law c1/B^a without a plateau, a = {model.parameters['exponent']:.2f},"
    names = {
        "constant": f"{article} constant",
        "linear": "c1/B without a plateau",
        "envelope": f"{the} envelope",
    }
    return names.get(model.name, "max(c1/B, c2)")


def rejection_power(log_batch_size: Array, theta: float, noise: float) -> float | None:
    """Return the chance that a smooth knee of sharpness 0.7 with the fitted noise would be rejected.

    The gain of the third parameter in -2 log L is then a noncentral F with 1 and n - 3 degrees of freedom,
    whose noncentrality is the least sum of squares of the hyperbola about the noise-free knee.

    Parameters
    ----------
    log_batch_size : ndarray, shape (N,)
    theta : float
        log(c1/c2).
    noise : float
        Standard deviation of log K.
    """
    n = len(log_batch_size)
    if n < 6 or not noise > 0:
        return None
    x, count = np.unique(log_batch_size, return_counts=True)
    knee = softplus(SOFTER * (theta - x)) / SOFTER
    shifts = theta + np.linspace(-6.0, 6.0, 601)
    residual = knee - softplus(shifts[:, None] - x)
    residual -= (residual @ count)[:, None] / n
    noncentrality = float((residual**2 @ count).min()) / noise**2

    def penalty(q: int) -> float:
        return 2 * q + 2 * q * (q + 1) / (n - q - 1)

    limit = (n - 3) * np.expm1((LIMITS["smooth_knee"] + penalty(4) - penalty(3)) / n)
    return float(1 - ncfdtr(1, n - 3, noncentrality, limit))


def replicate_test(log_batch_size: Array, log_steps: Array, sum_of_squares: float) -> LackOfFit | None:
    """Return the F test of the curve against one mean a batch size; None without replicates of exact rows.

    Parameters
    ----------
    log_batch_size, log_steps : ndarray, shape (N,)
    sum_of_squares : float
        Of log K about the curve.
    """
    _, place = np.unique(log_batch_size, return_inverse=True)
    counts = np.bincount(place)
    df_lack, df_error = len(counts) - 2, len(place) - len(counts)
    if df_lack < 1 or df_error < 1:
        return None
    means = np.bincount(place, log_steps) / counts
    error = float(((log_steps - means[place]) ** 2).sum())
    if error <= 1e-18 * len(place):
        return None
    f = max(sum_of_squares - error, 0.0) / df_lack / (error / df_error)
    return LackOfFit(f=f, p_value=float(fdtrc(df_lack, df_error, f)), df_lack=df_lack, df_error=df_error)


def runs_test(log_batch_size: Array, residuals: Array) -> RunsTest:
    """Return the Wald–Wolfowitz test of the signs of the residuals over log B, exact, one-sided.

    Replicates are averaged first. A short sequence of few runs is a systematic misfit of whatever size.
    """
    _, place = np.unique(log_batch_size, return_inverse=True)
    means = np.bincount(place, residuals) / np.bincount(place)
    plus = means >= 0
    a, b = int(plus.sum()), int((~plus).sum())
    runs = 1 + int((plus[1:] != plus[:-1]).sum())
    chance = None
    if a and b:
        chance = sum(_arrangements(a, b, r) for r in range(2, runs + 1)) / comb(a + b, a)
    return RunsTest(signs="".join("+" if p else "-" for p in plus), runs=runs, p_value=chance)


def _arrangements(a: int, b: int, runs: int) -> int:
    half = runs // 2
    if runs % 2 == 0:
        return 2 * comb(a - 1, half - 1) * comb(b - 1, half - 1)
    return comb(a - 1, half) * comb(b - 1, half - 1) + comb(a - 1, half - 1) * comb(b - 1, half)
