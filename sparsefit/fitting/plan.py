"""Which batch size, how many steps, what cost: decisions that follow from K = c1/B + c2.

With B examples a step, the work is K B = c1 + c2 B. The least steps are c2 (B → ∞), the least work is c1
(B → 0), so steps exceed their least by (c1/c2)/B and work exceeds its least by B/(c1/c2): a larger batch
always saves steps and always costs work. A limit on the work or on the hardware therefore is a largest batch
size, and the largest that is allowed takes the fewest steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsefit.errors import InputError
from sparsefit.fitting.curves import Array
from sparsefit.fitting.fit_file import FittedCurve, read_curves
from sparsefit.fitting.results import FitResult
from sparsefit.fitting.results_records import UNKNOWN, Estimate

SCHEMA = "sparsefit.plan/1"
DIRECTIONS = 720
"""Points on the edge of the joint region."""


@dataclass(frozen=True)
class Plan:
    """The largest batch size that one group may use, and what training at that batch size takes.

    Attributes
    ----------
    group : mapping
    batch_size : Estimate
        Largest allowed, with the interval that the uncertainty of c1 and c2 leaves: at its lower end the
        limit is kept even if c1 and c2 are at the wrong end. Without value where the data give a limit on
        one side only, or nothing, or where no batch size is allowed.
    steps, samples : Estimate
        K and K·B at the batch size chosen, which is ``batch_size.value``. Where c1 and c2 are not both
        determined, they have a value among the batch sizes measured and limits beyond.
    steps_overhead, samples_overhead : Estimate
        Shares by which they exceed the least possible ones, c2 and c1.
    limited_by : str
        ``batch_size``, ``budget_samples``, ``max_overhead`` or ``devices_max_batch``; "" where the data do
        not tell which.
    notes : tuple of str
        Why there is no plan, or what to mind.
    """

    group: Mapping[str, Any]
    batch_size: Estimate
    steps: Estimate = UNKNOWN
    samples: Estimate = UNKNOWN
    steps_overhead: Estimate = UNKNOWN
    samples_overhead: Estimate = UNKNOWN
    limited_by: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return one entry of ``plans``."""
        return {
            name: value.to_dict() if isinstance(value, Estimate) else value
            for name, value in {**vars(self), "group": dict(self.group), "notes": list(self.notes)}.items()
        }


@dataclass(frozen=True)
class PlanResult:
    """Plans of all groups of a fit.

    Attributes
    ----------
    plans : tuple of Plan
    limits : mapping of str to float
        Those that were given, by the names of the arguments of `plan`.
    confidence : float
    """

    plans: tuple[Plan, ...]
    limits: Mapping[str, float]
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a ``sparsefit.plan/1`` file; unrounded, an open end is None."""
        from sparsefit import __version__

        return {
            "schema": SCHEMA,
            "version": __version__,
            "limits": dict(self.limits),
            "confidence": self.confidence,
            "plans": [entry.to_dict() for entry in self.plans],
        }


def plan(
    fit: FitResult | str | Path,
    *,
    batch_size: float | None = None,
    budget_samples: float | None = None,
    max_overhead: float | None = None,
    devices_max_batch: float | None = None,
) -> PlanResult:
    """Return for each group the largest batch size within all given limits, and its cost.

    Parameters
    ----------
    fit : FitResult, str or Path
        A fit or the path of its JSON file.
    batch_size : float, optional
        The batch size itself; nothing is then left to limit.
    budget_samples : float, optional
        Largest work K·B, in units of the batch size (examples, tokens).
    max_overhead : float, optional
        Largest share by which the work may exceed the least, c1.
    devices_max_batch : float, optional
        Largest batch that the devices take together.

    Raises
    ------
    InputError
        The file is not a fit, no limit is given, one is not a finite number above 0, or there is a limit
        beside the batch size.
    """
    given = {
        "batch_size": batch_size,
        "budget_samples": budget_samples,
        "max_overhead": max_overhead,
        "devices_max_batch": devices_max_batch,
    }
    limits = {name: float(value) for name, value in given.items() if value is not None}
    if not limits:
        raise InputError(f"a plan needs a limit: got none, allowed one or more of {', '.join(given)}")
    if batch_size is not None and len(limits) > 1:
        raise InputError(
            f"batch_size: got it with {', '.join(list(limits)[1:])}, allowed is one or the other"
        )
    for name, value in limits.items():
        if not 0 < value < np.inf:
            raise InputError(f"{name}: got {value:g}, allowed is a finite number above 0")
    curves, confidence = read_curves(fit)
    return PlanResult(tuple(plan_curve(curve, limits) for curve in curves), limits, confidence)


def plan_curve(curve: FittedCurve, limits: Mapping[str, float]) -> Plan:
    """Return the plan of one group."""
    each = {name: largest(curve, name, limit) for name, limit in limits.items()}
    sizes = {name: size for name, size in each.items() if size is not None}
    for name in each.keys() - sizes.keys():
        return Plan(curve.group, UNKNOWN, limited_by=name, notes=(least_work(curve, limits[name]),))
    name, size = smallest(sizes)
    at = size.value
    if at is None:
        return Plan(curve.group, size, notes=remarks(curve, None))
    critical = curve.critical_batch_size
    return Plan(
        group=curve.group,
        batch_size=size,
        steps=carry(curve, lambda c1, c2: c1 / at + c2, at),
        samples=carry(curve, lambda c1, c2: c1 + c2 * at, at),
        steps_overhead=bounded(*(None if end is None else end / at for end in ends(critical))),
        samples_overhead=bounded(
            *(None if end is None else at / end for end in (critical.value, critical.high, critical.low))
        ),
        limited_by=name,
        notes=remarks(curve, at),
    )


def largest(curve: FittedCurve, name: str, limit: float) -> Estimate | None:
    """Return the largest batch size under one limit; None where no batch size keeps it."""
    if name == "max_overhead":
        return bounded(*(None if end is None else limit * end for end in ends(curve.critical_batch_size)))
    if name != "budget_samples":
        return Estimate(limit, limit, limit)
    found = carry(curve, lambda c1, c2: (limit - c1) / c2, None)
    beyond = found.value if found.value is not None else found.high
    return None if beyond is not None and beyond <= 0 else found


def smallest(each: Mapping[str, Estimate]) -> tuple[str, Estimate]:
    """Return the limit that decides and the batch size within all limits, "" and no value where none does.

    A limit decides, though another has no value, where that one's batch size is larger for sure.
    """
    low = min(size.low or 0.0 for size in each.values())
    high = min((size.high for size in each.values() if size.high is not None), default=np.inf)
    least = {name: (size.low or 0.0) if size.value is None else size.value for name, size in each.items()}
    name = min(least, key=lambda one: (least[one], each[one].value is None))
    value = each[name].value
    return "" if value is None else name, bounded(value, low, high)


def carry(curve: FittedCurve, quantity: Callable[[Array, Array], Array], size: float | None) -> Estimate:
    """Return a function of c1 and c2 with its extremes over their joint region.

    Where c1 and c2 are not both determined, it has a value only if both ends are known and its batch size
    (``size``, or without it the function itself) lies among those measured: the curve is not known beyond.
    """
    points = joint_region(curve) if is_determined(curve) else curve.region
    if points is None:
        return UNKNOWN
    with np.errstate(all="ignore"):
        found = quantity(*points)
    value, least, most = float(found[0]), float(found.min()), float(found.max())
    estimate = bounded(value, least, most)
    if is_determined(curve):
        return estimate
    first, last = curve.batch_size_range
    inside = first <= (value if size is None else size) <= last
    if inside and estimate.low is not None and estimate.high is not None:
        return estimate
    return Estimate(None, estimate.low, estimate.high)


def is_determined(curve: FittedCurve) -> bool:
    """Tell whether c1 and c2 both have values, and how they go together is known."""
    return None not in (curve.c1.value, curve.c2.value, curve.log_correlation)


def ends(estimate: Estimate) -> tuple[float | None, float | None, float | None]:
    """Return value, low and high."""
    return estimate.value, estimate.low, estimate.high


def bounded(value: float | None, low: float | None, high: float | None) -> Estimate:
    """Return an estimate without what is not finite, and without a low end of 0 or less."""
    value, low, high = (None if end is None or not np.isfinite(end) else end for end in (value, low, high))
    return Estimate(value, None if low is None or low <= 0 else low, high)


def joint_region(curve: FittedCurve) -> tuple[Array, Array]:
    """Return c1 and c2 where both are determined, then along the edge of their joint region.

    An ellipse in (log c1, log c2) with their correlation, stretched on each side to the end of each interval:
    its extremes in c1 and in c2 are the intervals of the fit, those of any other function are what the
    profile likelihood gives as far as the region is an ellipse.
    """
    turn = np.linspace(0.0, 2 * np.pi, DIRECTIONS, endpoint=False)
    r = curve.log_correlation or 0.0
    first, second = np.cos(turn), r * np.cos(turn) + np.sqrt(1 - r * r) * np.sin(turn)
    found = []
    for estimate, away in ((curve.c1, first), (curve.c2, second)):
        value = np.log(estimate.value or np.nan)
        low = np.inf if estimate.low is None else value - np.log(estimate.low)
        high = np.inf if estimate.high is None else np.log(estimate.high) - value
        with np.errstate(over="ignore", invalid="ignore"):
            shift = np.where(away < 0, away * low, np.where(away > 0, away * high, 0.0))
            found.append(np.exp(value + np.append(0.0, shift)))
    return found[0], found[1]


def least_work(curve: FittedCurve, budget: float) -> str:
    """Say why a budget fits no batch size."""
    c1 = curve.c1
    least = "above it"
    if c1.value is not None:
        low, high = (
            open_end if end is None else f"{end:,.0f}" for end, open_end in ((c1.low, "0"), (c1.high, "∞"))
        )
        least = f"c1 = {c1.value:,.0f} [{low}, {high}]"
    return f"no batch size fits the budget of {budget:,.10g}: the least work is {least}"


def remarks(curve: FittedCurve, size: float | None) -> tuple[str, ...]:
    """Return what to mind about a plan."""
    notes = []
    low, high = curve.batch_size_range
    if size is not None and not low <= size <= high:
        notes.append(f"B = {size:.4g} lies outside the batch sizes measured, {low:g} to {high:g}")
    if not is_determined(curve):
        notes.append("c1 and c2 are not both determined: what hangs on both has a limit, or nothing")
        if curve.region is None and curve.c2 != UNKNOWN:
            notes.append(
                "the file has no region, as earlier versions wrote it: fit the table again for steps"
            )
    if curve.verdict != "consistent":
        said = {"undetermined": "cannot tell whether the curve holds"}.get(curve.verdict, "rejects the curve")
        notes.append(f"the fit {said}: {curve.verdict_reason}")
    return tuple(notes)
