"""A plan as a table for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from sparsefit.fitting.plan import PlanResult
from sparsefit.fitting.results_records import UNKNOWN, Estimate
from sparsefit.report.terminal import cell, grouped, lead, named, varying

LIMITS = {
    "batch_size": "At a batch size of {:,.10g}",
    "budget_samples": "budget of {:,.10g} samples",
    "max_overhead": "at most {percent:,.4g} % more samples than the least",
    "devices_max_batch": "devices take batches up to {:,.10g}",
}

BINDING = {
    "batch_size": "given",
    "budget_samples": "budget",
    "max_overhead": "overhead",
    "devices_max_batch": "devices",
}


def render(result: PlanResult) -> Group:
    """Return everything that ``sparsefit plan`` prints.

    Parameters
    ----------
    result : PlanResult
    """
    keys = varying([entry.group for entry in result.plans])
    limits = "; ".join(
        LIMITS[name].format(value, percent=100 * value) for name, value in result.limits.items()
    )
    columns = ("batch size", "steps", "samples", "steps over the least", "samples over the least")
    table = grouped(keys, (*columns, "limited by"))
    for entry in result.plans:
        shares = (percent(entry.steps_overhead), percent(entry.samples_overhead))
        cells = [text(entry.batch_size), text(entry.steps), text(entry.samples), *shares]
        if entry.limited_by and entry.batch_size.value is None:
            cells = ["none"] * len(cells)
        table.add_row(*named(entry.group, keys), *cells, BINDING.get(entry.limited_by, "-"))
    title = (
        limits
        if "batch_size" in result.limits
        else f"The largest batch size takes the fewest steps: {limits}"
    )
    parts: list[RenderableType] = [Text(f"{title}; {100 * result.confidence:g} % intervals"), "", table]
    notes = [f"{lead(entry.group, keys)}{note}" for entry in result.plans for note in entry.notes]
    if notes:
        parts += ["", *(Text(note) for note in notes)]
    return Group(*parts)


def text(estimate: Estimate) -> str:
    """Return a number with its interval, alone where the interval is a point."""
    if estimate.value is not None and estimate.low == estimate.high == estimate.value:
        return cell(Estimate(estimate.value, None, None))
    return cell(estimate)


def percent(estimate: Estimate) -> str:
    """Return a share in percent."""
    if estimate == UNKNOWN:
        return cell(estimate)
    ends = (None if end is None else 100 * end for end in (estimate.value, estimate.low, estimate.high))
    return f"{cell(Estimate(*ends))} %"
