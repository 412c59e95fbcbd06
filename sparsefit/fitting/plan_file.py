"""The curves of a ``sparsefit.fit/1`` file, as far as a plan needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefit.errors import InputError
from sparsefit.fitting.fitted_parts import as_estimate
from sparsefit.fitting.json_fields import (
    as_list,
    as_number,
    as_object,
    as_positive,
    as_text,
    needed,
    read_json,
)
from sparsefit.fitting.results import SCHEMA, FitResult
from sparsefit.fitting.results_records import Estimate


@dataclass(frozen=True)
class FittedCurve:
    """One entry of ``fits``: c1 and c2 with their intervals and how they go together.

    Attributes
    ----------
    group : mapping
    c1, c2, critical_batch_size : Estimate
    log_correlation : float or None
        Of log c1 and log c2; None where one of them is not determined.
    batch_size_range : tuple of float
        Smallest and largest measured.
    verdict, verdict_reason : str
    """

    group: Mapping[str, Any]
    c1: Estimate
    c2: Estimate
    critical_batch_size: Estimate
    log_correlation: float | None
    batch_size_range: tuple[float, float]
    verdict: str
    verdict_reason: str


def read_curves(source: FitResult | str | Path) -> tuple[tuple[FittedCurve, ...], float]:
    """Return the curves of a fit or of its file, and the confidence of their intervals.

    Raises
    ------
    InputError
        Unreadable, not JSON, another schema, or a field that is missing or has a value that is not allowed.
    """
    if isinstance(source, FitResult):
        return from_dict(source.to_dict())
    content = read_json(source)
    try:
        return from_dict(content)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def from_dict(content: Any) -> tuple[tuple[FittedCurve, ...], float]:
    """Return the curves of what `FitResult.to_dict` returned or a file holds."""
    top = as_object(content, "the file")
    if top.get("schema") != SCHEMA:
        raise InputError(f"schema: got {top.get('schema')!r}, allowed {SCHEMA!r} (sparsefit fit --json)")
    entries = as_list(needed(top, "fits", ""), "fits")
    if not entries:
        raise InputError("fits: got an empty list, allowed at least one fit")
    confidence = as_number(needed(top, "confidence", ""), "confidence")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: got {confidence:g}, allowed above 0 and below 1")
    return tuple(as_curve(entry, f"fits[{i}]") for i, entry in enumerate(entries)), confidence


def as_curve(value: Any, where: str) -> FittedCurve:
    """Read one entry of ``fits``."""
    table = as_object(value, where)
    estimates = []
    for name in ("c1", "c2", "critical_batch_size"):
        found = as_estimate(needed(table, name, where), f"{where}.{name}")
        known = [end for end in (found.low, found.value, found.high) if end is not None]
        if known != sorted(known):
            raise InputError(f"{where}.{name}: got low, value, high = {known}, allowed in rising order")
        estimates.append(found)
    related = table.get("log_correlation")
    if related is not None:
        related = as_number(related, f"{where}.log_correlation")
        if not -1 <= related <= 1:
            raise InputError(f"{where}.log_correlation: got {related:g}, allowed from -1 to 1")
    ends = as_list(needed(table, "batch_size_range", where), f"{where}.batch_size_range")
    if len(ends) != 2:
        raise InputError(f"{where}.batch_size_range: got {ends}, allowed [smallest, largest]")
    low, high = (as_positive(end, f"{where}.batch_size_range") for end in ends)
    c1, c2, critical = estimates
    return FittedCurve(
        group=dict(as_object(table.get("group", {}), f"{where}.group")),
        c1=c1,
        c2=c2,
        critical_batch_size=critical,
        log_correlation=related,
        batch_size_range=(low, high),
        verdict=as_text(needed(table, "verdict", where), f"{where}.verdict"),
        verdict_reason=as_text(table.get("verdict_reason", ""), f"{where}.verdict_reason"),
    )
