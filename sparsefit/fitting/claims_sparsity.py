"""Claims about a sparse group beside its dense twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sparsefit.fitting.claims import NO_SMALLER, PAPER_RANGE, PAPER_SPARSITY, WIDEST, claim
from sparsefit.fitting.columns import value_of
from sparsefit.fitting.ratios import divide, number
from sparsefit.fitting.results import CurveFit, Ratio
from sparsefit.fitting.results_records import LEVEL, UNKNOWN, Estimate
from sparsefit.fitting.rounding import rounding_error
from sparsefit.fitting.validation_records import Claim, Judgement


def shared_shape(ratio: Ratio) -> Claim:
    """Judge that one factor takes the dense curve to the sparse one."""
    test, found = ratio.shared, ratio.critical_batch_size
    verdict: Judgement = "cannot tell"
    if test.p_value is None:
        reason = "There are too few rows to compare the shapes."
    elif test.p_value < LEVEL:
        verdict = "fails"
        reason = f"Separate c1/c2 fit better than a shared one (F = {test.f:.2f}, p = {test.p_value:.2g})."
    elif found.value is None:
        reason = "c1/c2 of one of the two is not determined; measure batch sizes on both sides of it."
    elif not is_narrow(found):
        reason = f"c1/c2 may differ by more than a factor {WIDEST:g} and not be seen; measure more."
    else:
        verdict = "holds"
        found_f = f"F = {test.f:.2f}, p = {test.p_value:.2g}"
        reason = f"A shared c1/c2 is not contradicted at the level {LEVEL:g} ({found_f})."
    return claim(
        "shared_shape",
        verdict,
        reason,
        found,
        group=ratio.group,
        reference=ratio.reference,
        p_value=test.p_value,
    )


def critical_batch_size_sparse(ratio: Ratio) -> Claim:
    """Judge that c1/c2 is no smaller in the sparse network."""
    found = ratio.critical_batch_size
    if found.high is not None and found.high < 1:
        verdict: Judgement = "fails"
        reason = f"It is smaller: {found.high:.3g} times that of the dense network at most."
    elif found.low is not None and found.low > NO_SMALLER:
        verdict, reason = "holds", f"It is at least {found.low:.3g} times that of the dense network."
    else:
        verdict, reason = "cannot tell", "The interval of the ratio allows both a smaller and a larger one."
    return claim(
        "critical_batch_size_sparse", verdict, reason, found, group=ratio.group, reference=ratio.reference
    )


def sparse_over_dense(ratio: Ratio, fits: Sequence[CurveFit]) -> Claim:
    """Judge the ratio of measured steps at each batch size that both groups have (Figure 12).

    The error of log K is the scatter of each fit about its curve over the root of the number of replicates,
    and that of rounding to the evaluation interval.
    """
    sparse, dense = (next(f for f in fits if f.group == g) for g in (ratio.group, ratio.reference))
    low, high = PAPER_RANGE if is_paper_sparsity(ratio.group) else (1.0, np.inf)
    both = np.intersect1d(sparse.batch_size, dense.batch_size)
    common = [float(size) for size in both if reached_at(dense, size)]
    free = [fit.n_points - fit.n_censored - 2 for fit in (sparse, dense)]
    if min(free) < 1 or not common:
        reason = "The two groups have no batch size in common, or too few rows to know their noise."
        return claim("sparse_over_dense", "cannot tell", reason, group=ratio.group, reference=ratio.reference)
    rows: list[dict[str, Any]] = []
    off = []
    for size in common:
        found, wide = (
            divide(measured(sparse, size, level), measured(dense, size, level))
            for level in (sparse.confidence, 1 - LEVEL / len(common))
        )
        rows.append({"batch_size": size, **found.to_dict()})
        if (wide.low is not None and wide.low > high) or (wide.high is not None and wide.high < low):
            off.append(size)
    known = [row for row in rows if row["value"] is not None]
    mean = mean_ratio(sparse, dense, [row["batch_size"] for row in known]) if known else UNKNOWN
    text = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} to ∞"
    span = ""
    if len(known) > 1:
        first, last = known[0], known[-1]
        span = f" It is {first['value']:.2f} at B = {first['batch_size']:g} and {last['value']:.2f} at "
        span += f"B = {last['batch_size']:g}."
    verdict: Judgement = "cannot tell"
    if off:
        verdict = "fails"
        sizes = ", ".join(f"{size:g}" for size in off)
        reason = f"At B = {sizes} it lies outside {text} for sure.{span}"
    elif mean.low is not None and mean.high is not None and low < mean.low and mean.high < high:
        verdict = "holds"
        reason = f"None of {len(rows)} batch sizes lies outside {text} for sure.{span}"
    else:
        reason = f"The interval of the mean reaches out of {text}.{span}"
    return claim(
        "sparse_over_dense",
        verdict,
        reason,
        mean,
        group=ratio.group,
        reference=ratio.reference,
        details=rows,
    )


def is_paper_sparsity(group: Mapping[str, Any]) -> bool:
    """Tell whether a group has the sparsity that Figure 12 shows."""
    found = sparsity_of(group)
    return found is not None and abs(found - PAPER_SPARSITY) < 1e-6


def sparsity_of(group: Mapping[str, Any]) -> float | None:
    """Return the sparsity of a group; None if it has none."""
    return number(value_of(group, "sparsity"))


def reached_at(fit: CurveFit, size: float) -> bool:
    """Tell whether every replicate at a batch size reached the goal."""
    return bool(np.isfinite(fit.upper[fit.batch_size == size]).all())


def measured(fit: CurveFit, size: float, confidence: float) -> Estimate:
    """Return the geometric mean of the steps at a batch size; a lower limit where the goal was missed."""
    at = fit.batch_size == size
    t = float(stdtrit(fit.n_points - fit.n_censored - 2, (1 + confidence) / 2))
    if not reached_at(fit, size):
        reach = t * fit.rms_log_residual / float(np.sqrt(at.sum()))
        return Estimate(None, around(float(fit.lower[at].min()), reach).low, None)
    moved, noise = rounding_error(fit.rms_log_residual, fit.lower[at], fit.upper[at])
    reach = float(moved.mean() + t * np.sqrt((noise**2).sum()) / len(noise))
    return around(float(np.exp(np.log((fit.lower + fit.upper)[at] / 2).mean())), reach)


def around(value: float, reach: float) -> Estimate:
    """Return a value with an interval that reaches so far to each side of its logarithm, open if too far."""
    with np.errstate(over="ignore", under="ignore"):
        low, high = value * float(np.exp(-reach)), value * float(np.exp(reach))
    return Estimate(value, low if low > 0 else None, high if np.isfinite(high) else None)


def mean_ratio(sparse: CurveFit, dense: CurveFit, sizes: Sequence[float]) -> Estimate:
    """Return the geometric mean of the ratio over batch sizes, with the error that noise gives it."""
    parts = []
    for fit in (sparse, dense):
        logs = [np.log(measured(fit, size, fit.confidence).value or np.nan) for size in sizes]
        at = np.isin(fit.batch_size, sizes)
        weight = 1 / (fit.batch_size[at, None] == fit.batch_size[at]).sum(axis=1) / len(sizes)
        moved, noise = rounding_error(fit.rms_log_residual, fit.lower[at], fit.upper[at])
        t = float(stdtrit(fit.n_points - fit.n_censored - 2, (1 + fit.confidence) / 2))
        reach = float((weight * moved).sum() + t * np.sqrt(((weight * noise) ** 2).sum()))
        parts.append(around(float(np.exp(np.mean(logs))), reach))
    return divide(parts[0], parts[1])


def is_narrow(found: Estimate) -> bool:
    """Tell whether an interval reaches less than a factor 2 to each side."""
    if found.value is None or found.low is None or found.high is None:
        return False
    return found.value < WIDEST * found.low and found.high < WIDEST * found.value
