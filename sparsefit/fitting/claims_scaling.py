"""The claim that larger batch sizes can be predicted from smaller ones: K*/2^r + (1 - 2^-r) c2."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtrit

from sparsefit.fitting.claims import WIDEST, claim
from sparsefit.fitting.claims_curve import reached_rows
from sparsefit.fitting.curves import Array, log_steps
from sparsefit.fitting.fit import edge, estimates
from sparsefit.fitting.intervals import Scan, scan
from sparsefit.fitting.likelihood import RESOLUTION, pool
from sparsefit.fitting.results import CurveFit
from sparsefit.fitting.results_records import LEVEL, Estimate
from sparsefit.fitting.rounding import BLURRED, blur, rounding_error
from sparsefit.fitting.validation_records import Claim
from sparsefit.fitting.verdict import GRID_UNITS, LEAST_BATCH_SIZES, grid_units


def scaling_prediction(fit: CurveFit) -> Claim:
    """Fit part of the batch sizes, predict the rest, and score the errors against their intervals.

    The larger half is held out; where the others do not reach the knee, so that c2 is open, the largest third
    or quarter is, and at last every second batch size between the first and the last. Rows on an evaluation
    grid count by the middle of their interval, those held out by the place that rounding allows nearest to
    the curve of all; rows that missed the goal are left out.
    """
    size, steps = reached_rows(fit)
    distinct = np.unique(size)
    grid = grid_units(fit.batch_size, fit.lower, fit.upper, fit.log_c1, fit.log_c2)
    if grid is not None and grid < GRID_UNITS:
        return claim("scaling_prediction", "cannot tell", fit.verdict_reason, group=fit.group)
    if len(distinct) < LEAST_BATCH_SIZES:
        reason = f"{len(distinct)} batch sizes are too few to hold some out; measure {LEAST_BATCH_SIZES}."
        return claim("scaling_prediction", "cannot tell", reason, group=fit.group)
    shares = [len(distinct) // parts for parts in (2, 3, 4)]
    choices = {f"the {count} largest batch sizes": distinct[-count:] for count in shares if count}
    choices["every second batch size"] = distinct[1:-1:2]
    reached = np.isfinite(fit.upper)
    sharp = blur(fit.rms_log_residual, fit.lower[reached], fit.upper[reached]) < BLURRED
    for name, held in choices.items():
        out = np.isin(size, held)
        if sharp[~out].any():
            continue
        half = scan_exact(size[~out], steps[~out], fit.confidence)
        if estimates(half, np.log(size[~out]))[2].value is not None:
            return score(fit, half, size, steps, out, name)
    reason = "c1/c2 is not determined by part of the batch sizes; measure more of them on both sides of it."
    if sharp.any():
        reason = "The steps scatter by less than evaluation intervals hide; evaluate more often."
    return claim("scaling_prediction", "cannot tell", reason, group=fit.group)


def scan_exact(size: Array, steps: Array, confidence: float) -> Scan:
    """Return the curve of exact rows and its intervals, without the alternatives that a fit compares."""
    x, y = np.log(size), np.log(steps)
    return scan(pool(x, y, y), confidence)


def settle(fit: CurveFit, size: Array, steps: Array, out: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return how far rounding may move the log of the rows held out, and all steps with those moved so.

    They go towards the curve of all rows, and what is left is scaled to the scatter without rounding.
    """
    noise, reached = fit.rms_log_residual, np.isfinite(fit.upper)
    moved, wide = (part[out] for part in rounding_error(noise, fit.lower[reached], fit.upper[reached]))
    curve = log_steps(np.log(size[out]), fit.log_c1, fit.log_c2)
    away = np.log(steps[out]) - curve
    share = np.divide(noise, wide, out=np.ones_like(wide), where=wide > 0)
    near = steps.copy()
    near[out] = np.exp(curve + np.sign(away) * np.maximum(np.abs(away) - moved, 0.0) * share)
    return moved, near


def score(fit: CurveFit, half: Scan, size: Array, steps: Array, out: NDArray[np.bool_], name: str) -> Claim:
    """Return the claim from the curve of the rows that were kept."""
    kept, held = int((~out).sum()), int(out.sum())
    own = max(float(half.objective[0]), kept * RESOLUTION**2)
    moved, near = settle(fit, size, steps, out)
    both = max(float(scan_exact(size, near, fit.confidence).objective[0]), own)
    chance = float(fdtrc(held, kept - 2, (both - own) / held / (own / (kept - 2))))
    log_c2 = float(half.level[0])
    curve = np.exp(log_steps(np.log(size[out]), half.theta[0] + log_c2, log_c2))
    edge_low, edge_high = edge(half).steps(size[out])
    noise = np.sqrt(float(half.objective[0]) / (kept - 2))
    scatter = float(stdtrit(kept - 2, (1 + fit.confidence) / 2)) * noise
    low = curve * np.exp(-np.hypot(np.log(curve / np.minimum(edge_low, curve)), scatter))
    high = curve * np.exp(np.hypot(np.log(np.maximum(edge_high, curve) / curve), scatter))
    inside = (low <= steps[out] * np.exp(moved)) & (steps[out] * np.exp(-moved) <= high)
    reach = float(np.sqrt(high / low).max())
    errors = np.abs(np.log(steps[out] / curve))
    said = (
        f"Fitted without {name}, the curve predicts {inside.sum()} of {held} rows held out within its "
        f"intervals; the error is {np.expm1(errors.max()):.0%} at most, the intervals reach a factor "
        f"{reach:.3g} to each side; p = {chance:.2g}."
    )
    agrees = reach < WIDEST and 2 * inside.sum() > held
    base = np.unique(size[~out])
    rows = []
    for i, at in enumerate(size[out]):
        start = base[max(int(np.searchsorted(base, at)) - 1, 0)]
        rows.append(
            {
                "batch_size": float(at),
                "doublings": float(np.log2(at / start)),
                "steps": float(steps[out][i]),
                "predicted": float(curve[i]),
                "low": float(low[i]),
                "high": float(high[i]),
            }
        )
    return claim(
        "scaling_prediction",
        "fails" if chance < LEVEL else "holds" if agrees else "cannot tell",
        said,
        Estimate(float(inside.mean()), None, None),
        group=fit.group,
        p_value=chance,
        details=rows,
    )
