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
        limit is kept even if c1 and c2 are at the wrong end. Without value where they are not determined.
    steps, samples : Estimate
        K and K·B at the batch size chosen, which is ``batch_size.value``.
    steps_overhead, samples_overhead : Estimate
        Shares by which they exceed the least possible ones, c2 and c1.
    limited_by : str
        ``batch_size``, ``budget_samples``, ``max_overhead`` or ``devices_max_batch``; "" where no batch size
        is allowed.
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
    c1, c2 = curve.c1, curve.c2
    if c1.value is None or c2.value is None or curve.log_correlation is None:
        return undetermined(curve, limits)
    region = joint_region(curve)

    def carry(quantity: Callable[[Array, Array], Array]) -> Estimate:
        """Return a function of c1 and c2 with its extremes over the region; an end of 0 is open."""
        value = float(quantity(np.array(c1.value), np.array(c2.value)))
        with np.errstate(invalid="ignore", over="ignore"):
            edge = quantity(*region)
        low, high = min(float(edge.min()), value), max(float(edge.max()), value)
        return Estimate(value, low if low > 0 else None, high if np.isfinite(high) else None)

    def largest(a: Array, b: Array) -> Array:
        return np.asarray(np.min(np.broadcast_arrays(*allowed(limits, a, b).values()), axis=0))

    if float(largest(np.array(c1.value), np.array(c2.value))) <= 0:
        return Plan(
            curve.group,
            UNKNOWN,
            notes=(
                f"no batch size fits the budget of {limits['budget_samples']:,.10g}: the least work is c1 = "
                f"{c1.value:,.0f} [{'0' if c1.low is None else f'{c1.low:,.0f}'}, "
                f"{'∞' if c1.high is None else f'{c1.high:,.0f}'}]",
            ),
        )
    size = carry(largest)
    at = size.value or 0.0
    each = allowed(limits, np.array(c1.value), np.array(c2.value))
    return Plan(
        group=curve.group,
        batch_size=size,
        steps=carry(lambda a, b: a / at + b),
        samples=carry(lambda a, b: a + b * at),
        steps_overhead=carry(lambda a, b: a / b / at),
        samples_overhead=carry(lambda a, b: b / a * at),
        limited_by=min(each, key=lambda name: float(each[name])),
        notes=remarks(curve, at),
    )


def allowed(limits: Mapping[str, float], c1: Array, c2: Array) -> dict[str, Array]:
    """Return the largest batch size under each limit; not above 0 where none keeps it."""
    found: dict[str, Callable[[float], Array]] = {
        "batch_size": np.asarray,
        "budget_samples": lambda most: (most - c1) / c2,
        "max_overhead": lambda share: share * c1 / c2,
        "devices_max_batch": np.asarray,
    }
    return {name: found[name](value) for name, value in limits.items()}


def joint_region(curve: FittedCurve) -> tuple[Array, Array]:
    """Return c1 and c2 along the edge of their joint region.

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
            found.append(np.exp(value + shift))
    return found[0], found[1]


def undetermined(curve: FittedCurve, limits: Mapping[str, float]) -> Plan:
    """Return what is left to say where c1 and c2 are not both determined."""
    critical = curve.critical_batch_size
    size = UNKNOWN
    if set(limits) == {"max_overhead"}:
        share = limits["max_overhead"]
        size = Estimate(
            None, *(None if end is None else share * end for end in (critical.low, critical.high))
        )
    return Plan(
        curve.group,
        size,
        notes=(f"c1 and c2 are not both determined, so there is no plan. {curve.verdict_reason}",),
    )


def remarks(curve: FittedCurve, size: float) -> tuple[str, ...]:
    """Return what to mind about a plan."""
    notes = []
    low, high = curve.batch_size_range
    if not low <= size <= high:
        notes.append(f"B = {size:.4g} lies outside the batch sizes measured, {low:g} to {high:g}")
    if curve.verdict != "consistent":
        said = {"undetermined": "cannot tell whether the curve holds"}.get(curve.verdict, "rejects the curve")
        notes.append(f"the fit {said}: {curve.verdict_reason}")
    return tuple(notes)
