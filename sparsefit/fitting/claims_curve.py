"""Claims about one curve: its shape, its replicates, and the three regimes."""

from __future__ import annotations

import numpy as np
from scipy.special import fdtrc, stdtrit

from sparsefit.fitting.claims import claim
from sparsefit.fitting.curves import Array
from sparsefit.fitting.fit import REGIME_SHARE
from sparsefit.fitting.results import CurveFit
from sparsefit.fitting.results_records import LEVEL, UNKNOWN, Estimate
from sparsefit.fitting.rounding import rounding_error
from sparsefit.fitting.validation_records import Claim, Judgement
from sparsefit.fitting.verdict import (
    GRID_UNITS,
    LEAST_BATCH_SIZES,
    LOW_POWER,
    SOFTER,
    container,
    describe,
    grid_units,
    nearest,
    rejection_power,
)


def hyperbola(fit: CurveFit) -> Claim:
    """Judge c1/B + c2 against its alternatives.

    It fails under the limits of `sparsefit.fitting.verdict.judge`. It holds if it does not, and if the data
    could have told: a softer knee would have been rejected in at least half of all cases.
    """
    rival, margin, limit = nearest(fit.models)
    more = container(fit.models)
    grid = grid_units(fit.batch_size, fit.lower, fit.upper, fit.log_c1, fit.log_c2)
    reached = fit.batch_size[np.isfinite(fit.upper)]
    power = rejection_power(np.log(reached), fit.log_c1 - fit.log_c2, fit.rms_log_residual)
    verdict: Judgement = "cannot tell"
    if rival is None or margin is None:
        reason = "There are too few rows to compare the curve with its alternatives."
    elif grid is not None and grid < GRID_UNITS:
        reason = fit.verdict_reason
    elif margin <= -limit:
        verdict = "fails"
        reason = f"{describe(rival)} fits better by {-margin:.1f} AICc (limit {limit:.0f})."
    elif fit.critical_batch_size.value is None:
        reason = f"The batch sizes do not straddle the knee. {fit.verdict_reason}"
    elif len(np.unique(reached)) < LEAST_BATCH_SIZES:
        reason = f"Fewer than {LEAST_BATCH_SIZES} batch sizes at the goal cannot tell the curve from others."
    elif power is not None and power < LOW_POWER:
        reason = (
            f"No alternative is better by its limit, but at this noise a softer knee (p = {SOFTER}) would be "
            f"found in {power:.0%} of cases only; measure replicates or more batch sizes."
        )
    else:
        verdict = "holds"
        reason = f"{describe(rival)} comes closest, {margin:.1f} AICc behind."
        if np.isfinite(limit):
            reason = f"{describe(rival)} comes closest; {limit:.0f} AICc better is the limit."
    return claim(
        "hyperbola",
        verdict,
        reason,
        Estimate(margin, None, None),
        group=fit.group,
        p_value=None if more is None else gain_chance(fit, more.log_likelihood),
        details=(model.to_dict() for model in fit.models),
    )


def gain_chance(fit: CurveFit, log_likelihood: float) -> float:
    """Return the chance of so large a gain by the third parameter of the better of two alternatives."""
    own = next(model for model in fit.models if model.name == "hyperbola").log_likelihood
    count = fit.n_points - fit.n_censored
    gain = max(log_likelihood - own, 0.0)
    f = (count - 3) * float(np.expm1(min(2 * gain / count, 700.0)))
    return min(2 * float(fdtrc(1, count - 3, f)), 1.0)


def reached_rows(fit: CurveFit) -> tuple[Array, Array]:
    """Return batch size and steps of the rows that reached the goal, intervals by their middle."""
    reached = np.isfinite(fit.upper)
    return fit.batch_size[reached], (fit.lower + fit.upper)[reached] / 2


def lack_of_fit(fit: CurveFit) -> Claim:
    """Judge the curve against the scatter of replicates (pure error)."""
    test = fit.lack_of_fit
    if test is None:
        reason = (
            "There are no replicates that differ by more than evaluation intervals hide; measure each batch "
            "size more than once, with other seeds."
        )
        return claim("lack_of_fit", "cannot tell", reason, group=fit.group)
    return claim(
        "lack_of_fit",
        "fails" if test.p_value < LEVEL else "holds",
        f"F = {test.f:.2f} (degrees of freedom {test.df_lack}, {test.df_error}), p = {test.p_value:.2g}.",
        Estimate(test.f, None, None),
        group=fit.group,
        p_value=test.p_value,
    )


def regimes(fit: CurveFit) -> Claim:
    """Judge that all three regimes are there: batch sizes surely in each, and the slopes they must have.

    In linear scaling log K falls against log B with a slope from -1 to -1/1.2, on the plateau from
    -(1 - 1/1.2) to 0. The slopes come from the rows of the regime alone, not from the curve.
    """
    missing = [name.replace("_", " ") for name, regime in fit.regimes.items() if not regime.covered]
    linear, flat = slopes(fit)
    steep = 1 / (1 + REGIME_SHARE)
    critical = fit.critical_batch_size
    verdict: Judgement = "cannot tell"
    if critical.value is None:
        reason = f"The regimes cannot be located. {fit.verdict_reason}"
    elif linear.low is not None and linear.low > -steep:
        verdict = "fails"
        reason = (
            f"In linear scaling log K falls by {-linear.low:.2f} per log B at most, not {steep:.2f} to 1."
        )
    elif linear.high is not None and linear.high < -1:
        verdict = "fails"
        reason = (
            f"In linear scaling log K falls by {-linear.high:.2f} per log B or more, not {steep:.2f} to 1."
        )
    elif flat.low is not None and flat.low > 0:
        verdict = "fails"
        reason = f"On the plateau log K rises by {flat.low:.2f} per log B or more."
    elif flat.high is not None and flat.high < steep - 1:
        verdict = "fails"
        reason = (
            f"On the plateau log K falls by {-flat.high:.2f} per log B or more, not 0 to {1 - steep:.2f}."
        )
    elif missing:
        reason = f"No measured batch size lies in {' nor in '.join(missing)} for sure; measure there too."
    else:
        verdict = "holds"
        reason = "Measured batch sizes lie in all three for sure, and slopes contradict none."
    if critical.value is not None:
        begins, plateau = REGIME_SHARE * critical.value, critical.value / REGIME_SHARE
        reason += f" Diminishing returns begin at B = {begins:.4g}, the plateau at {plateau:.4g}."
    ends = (critical.value, critical.low, critical.high)
    rows = []
    for (name, regime), slope in zip(fit.regimes.items(), (linear, UNKNOWN, flat), strict=True):
        found = {f"slope_{end}": value for end, value in slope.to_dict().items()}
        rows.append({"regime": name, **regime.to_dict(), **found})
    return claim(
        "regimes",
        verdict,
        reason,
        Estimate(*(None if end is None else REGIME_SHARE * end for end in ends)),
        group=fit.group,
        details=rows,
    )


def scatter(fit: CurveFit) -> float:
    """Return the standard deviation of log K about the better of the curve and its alternatives.

    A curve that misfits would count its misfit as noise, and then contradict nothing. The likelihood of a
    normal log K is proportional to the standard deviation to the power -n.
    """
    rival = container(fit.models)
    count = fit.n_points - fit.n_censored
    if rival is None:
        return fit.rms_log_residual
    own = next(model for model in fit.models if model.name == "hyperbola").log_likelihood
    better = float(np.exp((own - rival.log_likelihood) / count) * np.sqrt((count - 2) / (count - 3)))
    return fit.rms_log_residual * min(better, 1.0)


def slopes(fit: CurveFit) -> tuple[Estimate, Estimate]:
    """Return the slope of log K on log B in the linear and in the flat regime, with intervals.

    Least squares over the rows of the regime. Its error comes from all rows, since those of a regime are few,
    and from rounding to the evaluation interval.
    """
    size, steps = reached_rows(fit)
    x, y = np.log(size), np.log(steps)
    critical = fit.critical_batch_size
    free = len(size) - 2
    if critical.low is None or critical.high is None or free < 1:
        return UNKNOWN, UNKNOWN
    reach = float(stdtrit(free, (1 + fit.confidence) / 2))
    reached = np.isfinite(fit.upper)
    moved, noise = rounding_error(scatter(fit), fit.lower[reached], fit.upper[reached])
    found = []
    for inside in (size <= REGIME_SHARE * critical.low, size >= critical.high / REGIME_SHARE):
        away = x[inside] - x[inside].mean() if inside.any() else x[inside]
        spread = float((away**2).sum())
        slope = float((away * y[inside]).sum()) / spread if spread > 0 else 0.0
        error = reach * float(np.sqrt(((away * noise[inside]) ** 2).sum()))
        half = (error + float((np.abs(away) * moved[inside]).sum())) / spread if spread > 0 else 0.0
        found.append(Estimate(slope, slope - half, slope + half) if spread > 0 else UNKNOWN)
    return found[0], found[1]
