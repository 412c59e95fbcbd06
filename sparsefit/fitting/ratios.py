"""What sparsity costs: ratios of c1, c2 and c1/c2 to the dense twin, and whether the curve only moves up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import fdtrc

from sparsefit.fitting.columns import normalise
from sparsefit.fitting.curves import Array, softplus
from sparsefit.fitting.intervals import coarse_grid
from sparsefit.fitting.likelihood import CensoredLevel, ExactLevel, Rows, make_level, pool
from sparsefit.fitting.models import aicc
from sparsefit.fitting.results import CurveFit, Ratio, SharedShape, Verdict
from sparsefit.fitting.results_records import LEVEL, Estimate
from sparsefit.fitting.search import find_minimum

PRUNING = ("pruning",)
"""What a dense network has none of."""


def compare_to_dense(fits: Sequence[CurveFit]) -> tuple[Ratio, ...]:
    """Return the ratios of every fit with sparsity above 0 to the fit of sparsity 0 in the same setting."""
    ratios = []
    for fit in fits:
        twins = [other for other in fits if is_dense_twin(other, fit, PRUNING)]
        twins = [other for other in twins if is_dense_twin(other, fit)] or twins
        twin = twins[0] if twins else None
        if twin is not None:
            ratios.append(
                Ratio(
                    group=fit.group,
                    reference=twin.group,
                    c1=divide(fit.c1, twin.c1),
                    c2=divide(fit.c2, twin.c2),
                    critical_batch_size=divide(fit.critical_batch_size, twin.critical_batch_size),
                    shared=shared_shape(fit, twin),
                )
            )
    return tuple(ratios)


def is_dense_twin(dense: CurveFit, fit: CurveFit, but: Sequence[str] = ()) -> bool:
    """Tell whether two groups differ in sparsity only and in the columns `but`, the first being dense."""
    key = next((name for name in fit.group if normalise(name) == "sparsity"), None)
    if key is None or key not in dense.group or number(fit.group[key]) in (0.0, None):
        return False
    others = [name for name in fit.group if name != key and normalise(name) not in but]
    same = all(dense.group.get(name) == fit.group[name] for name in others)
    return same and number(dense.group[key]) == 0.0


def number(value: Any) -> float | None:
    """Return a number, or None for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def divide(a: Estimate, b: Estimate) -> Estimate:
    """Return the ratio of two independent estimates.

    The interval recovers each variance from the distance between value and end (MOVER: Zou and Donner,
    Statistics in Medicine 27 (2008) 1693), on the log scale; without both values it is the ratio of
    opposite ends.
    """
    if a.value is None or b.value is None:
        low = None if a.low is None or b.high is None else a.low / b.high
        high = None if a.high is None or b.low is None else a.high / b.low
        return Estimate(None, low, high)
    ratio = np.log(a.value) - np.log(b.value)

    def reach(over: float | None, under: float | None) -> float | None:
        if over is None or under is None:
            return None
        return float(np.hypot(over, under))

    def gap(end: float | None, value: float) -> float | None:
        return None if end is None else float(np.log(end) - np.log(value))

    below = reach(gap(a.low, a.value), gap(b.high, b.value))
    above = reach(gap(a.high, a.value), gap(b.low, b.value))
    return Estimate(
        float(np.exp(ratio)),
        None if below is None else float(np.exp(ratio - below)),
        None if above is None else float(np.exp(ratio + above)),
    )


def shared_shape(fit: CurveFit, twin: CurveFit) -> SharedShape:
    """Return the likelihood-ratio test, on the scale of F, that two curves have one c1/c2.

    Each curve keeps its own level and its own noise, so the degrees of freedom are Satterthwaite's
    (Biometrics Bulletin 2 (1946) 110): a curve counts by its part in the growth of the deviance, which is
    that of its c1/c2 in the variance of the difference. Where the data of one curve do not straddle its
    c1/c2 the test can still reject, but not call the shapes consistent.
    """
    rows = [as_rows(curve) for curve in (fit, twin)]
    levels = [make_level(part) for part in rows]
    informative = np.array([int(part.informative[0]) for part in rows])
    count, free = int(informative.sum()), informative - 2
    if free.min() <= 0:
        return SharedShape(None, None, 1, None, None, None, "undetermined")

    def deviance(level: ExactLevel | CensoredLevel, part: Rows, theta: Array) -> Array:
        offset = softplus(theta[..., None] - part.log_batch_size[:, None, :])
        return -2 * level.log_likelihood(level.profile(offset).objective)

    def deviances(*thetas: Array) -> Array:
        parts = zip(levels, rows, thetas, strict=True)
        return np.array([deviance(level, part, theta) for level, part, theta in parts])

    def total(theta: Array) -> Array:
        return np.asarray(deviances(theta, theta).sum(axis=0))

    ends = np.concatenate([part.log_batch_size[0] for part in rows])
    grid = coarse_grid(ends.min(keepdims=True), ends.max(keepdims=True))
    step = 1e-5

    def slope(theta: Array) -> Array:
        at = theta[:, None] + np.array([-step, step])
        values = total(at)
        return (values[:, 1] - values[:, 0]) / (2 * step)

    theta = find_minimum(total(grid), grid, slope)
    shared = deviances(theta[:, None], theta[:, None]).ravel()
    own = deviances(*(np.array([[curve.log_c1 - curve.log_c2]]) for curve in (fit, twin))).ravel()
    growth = np.maximum(shared - own, 0.0)
    part = growth / growth.sum() if growth.any() else np.full(2, 0.5)
    df_error = float(1 / (part**2 / free).sum())
    f = float(np.expm1((growth * free / informative).sum() / df_error)) * df_error
    p_value = float(fdtrc(1, df_error, f))
    own_aicc, shared_aicc = aicc(-own.sum() / 2, count, 5), aicc(-shared.sum() / 2, count, 4)
    straddle = None not in (fit.critical_batch_size.value, twin.critical_batch_size.value)
    verdict: Verdict = "rejected" if p_value < LEVEL else "consistent" if straddle else "undetermined"
    return SharedShape(
        f=f,
        p_value=p_value,
        df_shared=1,
        df_error=df_error,
        delta_aicc=None if own_aicc is None or shared_aicc is None else own_aicc - shared_aicc,
        critical_batch_size=float(np.exp(theta[0])),
        verdict=verdict,
    )


def as_rows(fit: CurveFit) -> Rows:
    """Return the rows of a fit, as the likelihood takes them."""
    with np.errstate(divide="ignore"):
        return pool(*(np.log(values) for values in (fit.batch_size, fit.lower, fit.upper)))
