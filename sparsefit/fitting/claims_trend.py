"""The claim that all curves of a table follow one trend, that of c1/B + c2 (Figure 1 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsefit.fitting.claims import TREND_RANGES, claim
from sparsefit.fitting.ratios import as_rows
from sparsefit.fitting.results import CurveFit
from sparsefit.fitting.results_records import LEVEL, Estimate
from sparsefit.fitting.shape import Shape, fit_shapes
from sparsefit.fitting.validation_records import Claim, Judgement
from sparsefit.fitting.verdict import GRID_UNITS, LEAST_BATCH_SIZES, grid_units

SYMBOLS = {"power_plateau": "a", "smooth_knee": "p"}


def universal_trend(fits: Sequence[CurveFit], confidence: float) -> list[Claim]:
    """Judge that one shape describes all curves, and that it is the shape of c1/B + c2.

    c1/B^a + c2 and the smooth knee are fitted to all curves at once, with one a or one p, and to each curve
    alone. Curves of few batch sizes take no part, nor do those whose plateau rounding sets; nothing is
    returned if fewer than two are left.
    """
    curves = [fit for fit in fits if takes_part(fit)]
    if len(curves) < 2:
        return []
    rows = [as_rows(curve) for curve in curves]
    shared, alone = [], []
    for model in TREND_RANGES:
        common, own = fit_shapes(model, rows, confidence)
        shared.append(detail(model, None, common))
        alone += [detail(model, curve, shape) for curve, shape in zip(curves, own, strict=True)]
    together = min(len(shared) * row["p_value"] for row in shared)
    least = min(alone, key=lambda row: row["p_value"])
    single = len(alone) * least["p_value"]
    chance = min(2 * min(together, single), 1.0)
    said = f"All {len(curves)} curves share {' and '.join(words(row) for row in shared)}"
    limits = " and ".join(
        f"{SYMBOLS[m]} = {low:.2g} to {high:.3g}" for m, (low, high) in TREND_RANGES.items()
    )
    odd = next((row for row in alone if lies(row, inside=False)), None)
    first = curves[0].group
    keys = [name for name in first if any(curve.group.get(name) != first[name] for curve in curves)]
    verdict: Judgement = "cannot tell"
    if chance < LEVEL and together <= single:
        verdict, reason = "fails", f"{said}: 1 is excluded (p = {chance:.2g})."
    elif chance < LEVEL:
        verdict = "fails"
        reason = f"{subject(least, keys)} has {words(least)}: 1 is excluded (p = {chance:.2g})."
    elif odd:
        reason = f"{said}, but alone {subject(odd, keys)} has {words(odd)}."
    elif all(lies(row, inside=True) for row in shared):
        verdict, reason = "holds", f"{said}, inside {limits}, and no curve alone lies outside."
    else:
        reason = f"{said}; {limits} count as the same."
    return [
        claim(
            "universal_trend",
            verdict,
            reason,
            Estimate(*(shared[0][end] for end in ("value", "low", "high"))),
            p_value=chance,
            details=[*shared, *alone],
        )
    ]


def takes_part(fit: CurveFit) -> bool:
    """Tell whether a curve has the batch sizes and the plateau to speak of its shape."""
    units = grid_units(fit.batch_size, fit.lower, fit.upper, fit.log_c1, fit.log_c2)
    reached = np.unique(fit.batch_size[np.isfinite(fit.upper)])
    return len(reached) >= LEAST_BATCH_SIZES and (units is None or units >= GRID_UNITS)


def detail(model: str, curve: CurveFit | None, shape: Shape) -> dict[str, Any]:
    """Return a row of the details; no curve stands for all."""
    group = None if curve is None else dict(curve.group)
    return {"model": model, "group": group, **shape.estimate.to_dict(), "p_value": shape.p_value}


def lies(row: dict[str, Any], *, inside: bool) -> bool:
    """Tell whether an interval lies inside the range that counts as c1/B + c2, or outside altogether."""
    low, high = TREND_RANGES[row["model"]]
    first, last = row["low"] or 0.0, np.inf if row["high"] is None else row["high"]
    return bool(low <= first and last <= high) if inside else bool(last < low or first > high)


def words(row: dict[str, Any]) -> str:
    """Return a shape and its interval in words."""
    low = "0" if row["low"] is None else f"{row['low']:.2f}"
    high = "∞" if row["high"] is None else f"{row['high']:.2f}"
    return f"{SYMBOLS[row['model']]} = {row['value']:.2f} [{low}, {high}]"


def subject(row: dict[str, Any], keys: Sequence[str]) -> str:
    """Return the curve of a row in words, by what differs between curves."""
    return ", ".join(f"{name} {row['group'].get(name)}" for name in keys)
