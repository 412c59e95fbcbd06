"""Fit K* = c1/B + c2 to one group of rows, or to every group of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsefit.errors import InputError
from sparsefit.fitting.curves import Array, linear_share, log_steps
from sparsefit.fitting.intervals import Scan, scan
from sparsefit.fitting.likelihood import RESOLUTION, pool, truncated_mean
from sparsefit.fitting.models import compare_models
from sparsefit.fitting.results import CurveFit, Estimate, LackOfFit, Regime, Region
from sparsefit.fitting.rounding import BLURRED, blur
from sparsefit.fitting.verdict import (
    GRID_UNITS,
    grid_units,
    judge,
    rejection_power,
    replicate_test,
    runs_test,
)

LARGEST = 1e100
"""Of batch sizes and steps, so that no product overflows."""

REGIME_SHARE = 0.2
"""Linear scaling ends, and the plateau begins, where the other term adds this share to the steps."""


def fit_curve(
    batch_size: ArrayLike,
    steps: ArrayLike,
    *,
    eval_interval: ArrayLike | None = None,
    censored: ArrayLike | None = None,
    confidence: float = 0.95,
    group: Mapping[str, Any] | None = None,
) -> CurveFit:
    """Fit K* = c1/B + c2 (Proposition 3.1 of Lee et al., arXiv 2003.11316) by maximum likelihood in log K.

    Parameters
    ----------
    batch_size : array_like, shape (N,)
        Positive; repeated values are replicates.
    steps : array_like, shape (N,)
        Steps-to-result, or where ``censored`` the number of steps T that was not enough (K* > T).
    eval_interval : array_like, shape () or (N,), optional
        Steps d between evaluations: the true step lies in (K - d, K]. None or NaN takes K as exact.
    censored : array_like of bool, shape (N,), optional
    confidence : float
        Of the intervals, in (0, 1).
    group : mapping, optional
        What the rows have in common; it goes into the result as it is.

    Raises
    ------
    InputError
        The numbers are not positive and finite, there are fewer than 2 batch sizes, or no row reached the
        goal.
    """
    size, upper, lower = check_rows(batch_size, steps, eval_interval, censored)
    if not 0 < confidence < 1:
        raise InputError(f"confidence: got {confidence}, allowed is a number between 0 and 1, such as 0.95")
    with np.errstate(divide="ignore"):
        x, low, high = np.log(size), np.log(lower), np.log(upper)
    rows = pool(x, low, high)
    found = scan(rows, confidence)
    theta, log_c2 = float(found.theta[0]), float(found.level[0])
    log_c1 = theta + log_c2
    n, informative, reached = len(x), int(rows.informative[0]), np.isfinite(upper)
    free = informative - 2
    noise = float(found.noise[0]) * np.sqrt(informative / free) if free > 0 else float("nan")
    c1, c2, critical = estimates(found, x)
    reason = why_undetermined(critical, found, x, free)
    residuals = expected_residuals(low, high, log_steps(x, log_c1, log_c2), max(float(found.noise[0]), 1e-9))
    models = compare_models(rows)
    if rows.exact:
        lack = replicate_test(x, high, float(found.objective[0]))
    else:
        lack = test_middles(size, lower, upper, noise)
    units = grid_units(size, lower, upper, log_c1, log_c2)
    verdict, sentence = judge(
        models,
        n_batch_sizes=len(np.unique(x[reached])),
        undetermined=reason,
        grid_units=units,
        lack_of_fit=lack,
        power=rejection_power(x[reached], theta, noise),
    )
    warnings = []
    if units is not None and GRID_UNITS <= units < GRID_UNITS + 1:
        warnings.append(
            f"c2 is only {units:.1f} evaluation intervals high; evaluate more often to be sure of it"
        )
    runs = runs_test(x, residuals)
    if runs.p_value is not None and runs.p_value < 0.05 and np.abs(residuals).max() > RESOLUTION:
        warnings.append(f"residuals run in few stretches over B ({runs.signs}): a systematic misfit")
    return CurveFit(
        n_points=n,
        n_censored=int((~reached).sum()),
        batch_size_range=(float(size.min()), float(size.max())),
        c1=c1,
        c2=c2,
        critical_batch_size=critical,
        log_c1=log_c1,
        log_c2=log_c2,
        log_correlation=correlation(size[reached], log_c1, log_c2) if critical.value is not None else None,
        rms_log_residual=float(noise),
        confidence=confidence,
        verdict=verdict,
        verdict_reason=sentence,
        regimes=find_regimes(critical, np.unique(size[reached])),
        models=models,
        runs_test=runs,
        lack_of_fit=lack,
        batch_size=size,
        lower=lower,
        upper=upper,
        residuals=residuals,
        region=edge(found) if free > 0 else None,
        group=dict(group or {}),
        warnings=tuple(warnings),
    )


def test_middles(size: Array, lower: Array, upper: Array, noise: float) -> LackOfFit | None:
    """Return the test of the curve against replicates that are known to lie in intervals.

    Rows count by the middle of their interval. A batch size is left out whole at which some replicate missed
    the goal, since the mean is not known, or scatters by less than rounding hides, since that moves the mean.
    """
    reached = np.isfinite(upper)
    sharp = np.zeros(len(size), dtype=bool)
    sharp[reached] = ~(blur(noise, lower[reached], upper[reached]) >= BLURRED)
    kept = ~np.isin(size, size[~reached | sharp])
    if not 2 < len(np.unique(size[kept])) < kept.sum():
        return None
    x, y = np.log(size[kept]), np.log((lower + upper)[kept] / 2)
    found = scan(pool(x, y, y), confidence=0.95)  # the least sum of squares is the same at any
    return replicate_test(x, y, float(found.objective[0]))


def edge(found: Scan) -> Region:
    """Return the edge of the joint region of one curve, with the limits c1/B and c2 where it has no end."""
    theta, low, high = found.grid[0], found.low[0], found.high[0]
    log_c2 = np.concatenate([low, high])
    log_c1 = np.tile(theta, 2) + log_c2
    nothing = np.full(2, -np.inf)
    if np.isinf(found.theta_range[0, 0]):
        log_c1, log_c2 = np.append(log_c1, nothing), np.append(log_c2, [low[0], high[0]])
    if np.isinf(found.theta_range[0, 1]):
        ends = theta[-1] + np.array([low[-1], high[-1]])
        log_c1, log_c2 = np.append(log_c1, ends), np.append(log_c2, nothing)
    return Region(log_c1, log_c2)


def check_rows(
    batch_size: ArrayLike, steps: ArrayLike, eval_interval: ArrayLike | None, censored: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Return batch size, and the ends of the interval (lower, upper] that holds the true step."""
    size = np.atleast_1d(np.asarray(batch_size, dtype=float))
    upper = np.atleast_1d(np.asarray(steps, dtype=float))
    if size.ndim != 1 or size.shape != upper.shape:
        raise InputError(
            f"batch_size and steps: got shapes {size.shape} and {upper.shape}, allowed is one (N,)"
        )
    if not len(size):
        raise InputError("batch_size and steps: got no rows, allowed are at least 2")
    for name, values in (("batch_size", size), ("steps", upper)):
        wrong = ~((values > 0) & (values <= LARGEST))
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(
                f"{name}: got {values[row]} in row {row}, allowed is a number above 0, up to {LARGEST:g}"
            )
    lost = np.broadcast_to(np.asarray(False if censored is None else censored, dtype=bool), size.shape)
    grid = np.broadcast_to(np.asarray(np.nan if eval_interval is None else eval_interval, float), size.shape)
    if np.any(np.isinf(grid) | (grid <= 0)):
        raise InputError(
            f"eval_interval: got {grid[np.isinf(grid) | (grid <= 0)][0]}, allowed is a number above 0"
        )
    if lost.all():
        raise InputError("every row is censored: no study reached the goal; train longer or loosen the goal")
    if len(np.unique(size)) < 2:
        raise InputError(
            f"got 1 batch size ({size[0]:g}), allowed are at least 2; measure another batch size"
        )
    lower = np.where(np.isnan(grid), upper, np.maximum(upper - grid, 0.0))
    return size, np.where(lost, np.inf, upper), np.where(lost, upper, lower)


def estimates(found: Scan, x: Array) -> tuple[Estimate, Estimate, Estimate]:
    """Return c1, c2 and c1/c2, each with a value only where the data reach it from both sides."""
    below, above = (bool(side[0]) for side in found.outside(x.min(keepdims=True), x.max(keepdims=True)))
    theta, level = float(found.theta[0]), float(found.level[0])

    def estimate(value: float, ends: Array, *, has_low: bool, has_high: bool) -> Estimate:
        with np.errstate(over="ignore"):
            low, high = float(np.exp(ends[0])), float(np.exp(ends[1]))
        return Estimate(
            float(np.exp(value)) if has_low and has_high else None,
            low if has_low and low > 0 else None,
            high if has_high and np.isfinite(high) else None,
        )

    if not np.isfinite(found.low[0]).all():  # two rows: nothing to tell noise from
        return Estimate(None, None, None), Estimate(None, None, None), Estimate(None, None, None)
    c1 = estimate(theta + level, found.c1_range[0], has_low=not below, has_high=True)
    c2 = estimate(level, found.level_range[0], has_low=not above, has_high=True)
    critical = estimate(theta, found.theta_range[0], has_low=not below, has_high=not above)
    return c1, c2, critical


def why_undetermined(critical: Estimate, found: Scan, x: Array, free: int) -> str | None:
    """Return why c1/c2 has no value, and what to measure; None where it has one."""
    if critical.value is not None:
        return None
    if free <= 0:
        return "Two rows that reached the goal leave nothing to tell noise from; measure more batch sizes."
    below, above = (bool(side[0]) for side in found.outside(x.min(keepdims=True), x.max(keepdims=True)))
    first, last = float(np.exp(x.min())), float(np.exp(x.max()))
    if below and above:
        return "The noise is too large to tell c1/B from c2; measure more batch sizes, or replicates."
    if above:
        limit = "" if critical.low is None else f", and is above {critical.low:.4g}"
        return (
            f"c1/c2 is not reached from above: it may lie past the largest batch size, {last:g}{limit}; "
            f"add batch sizes past {max(4 * last, 4 * (critical.low or 0)):.4g}."
        )
    limit = "" if critical.high is None else f", and is below {critical.high:.4g}"
    wanted = min(first, critical.high or np.inf) / 4
    if wanted < 1 <= first:  # in units of examples there is none
        reachable = first > 1 and (critical.high is None or critical.high >= 1)
        advice = "add batch sizes down to 1." if reachable else "no batch size of 1 or more tells c1."
    else:
        advice = f"add batch sizes under {wanted:.4g}."
    lowest = f"it may lie under the smallest batch size, {first:g}"
    return f"c1/c2 is not reached from below: {lowest}{limit}; {advice}"


def expected_residuals(low: Array, high: Array, mean: Array, noise: float) -> Array:
    """Return log K less the curve; for intervals and bounds the mean of the normal within them."""
    return np.where(
        low == high, high - mean, truncated_mean((low - mean) / noise, (high - mean) / noise) * noise
    )


def correlation(size: Array, log_c1: float, log_c2: float) -> float | None:
    """Return the correlation of log c1 and log c2 from the gradient (w, 1 - w) of log K."""
    w = linear_share(size, float(np.exp(log_c1)), float(np.exp(log_c2)))
    a, b, c = float((w * w).sum()), float((w * (1 - w)).sum()), float(((1 - w) ** 2).sum())
    return -b / float(np.sqrt(a * c)) if a * c > 0 else None


def find_regimes(critical: Estimate, sizes: Array) -> dict[str, Regime]:
    """Return the three regimes of the paper: where they begin, and how many measured batch sizes they hold.

    c2 adds 20 % to c1/B at B = 0.2 c1/c2, and c1/B adds 20 % to c2 at B = 5 c1/c2.
    """
    first, second = REGIME_SHARE, 1 / REGIME_SHARE
    low = 0.0 if critical.low is None else critical.low
    high = np.inf if critical.high is None else critical.high
    starts = None if critical.value is None else first * critical.value
    ends = None if critical.value is None else second * critical.value
    counts = (
        int((sizes <= first * low).sum()),
        int(((sizes >= first * high) & (sizes <= second * low)).sum()),
        int((sizes >= second * high).sum()),
    )
    spans = ((None, starts), (starts, ends), (ends, None))
    names = ("linear_scaling", "diminishing_returns", "maximal_data_parallelism")
    return {
        name: Regime(begins=begin, ends=end, n_batch_sizes=count, covered=count > 0)
        for name, (begin, end), count in zip(names, spans, counts, strict=True)
    }
