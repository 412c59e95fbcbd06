"""Read a ``sparsefit.fit/1`` file: its curves for a plan, its c1 and c2 to stand beside those measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsefit.errors import InputError
from sparsefit.fitting.columns import value_of
from sparsefit.fitting.curves import Array
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

NAMES = ("c1", "c2", "critical_batch_size")
HINT = "; a fit is what is needed here: run `sparsefit fit TABLE --json fit.json` first"


@dataclass(frozen=True)
class FittedCurve:
    """One entry of ``fits``: c1 and c2 with their intervals and how they go together.

    Attributes
    ----------
    group : mapping
    c1, c2, critical_batch_size : Estimate
    log_correlation : float or None
        Of log c1 and log c2; None where one of them is not determined.
    region : tuple of ndarray, or None
        Where they are not: c1 and c2 at the maximum of the likelihood, then along the edge of their joint
        region, 0 or infinite where it has no end. None where they are, or where nothing tells it.
    batch_size_range : tuple of float
        Smallest and largest measured.
    verdict, verdict_reason : str
    """

    group: Mapping[str, Any]
    c1: Estimate
    c2: Estimate
    critical_batch_size: Estimate
    log_correlation: float | None
    region: tuple[Array, Array] | None
    batch_size_range: tuple[float, float]
    verdict: str
    verdict_reason: str


@dataclass(frozen=True)
class FittedParts:
    """What a fit says of the sparsities of one workload.

    Attributes
    ----------
    by_sparsity : dict of float to dict of str to Estimate
        ``c1``, ``c2`` and ``critical_batch_size``.
    ratios : dict of float to dict of str to Estimate
        The same, sparse over dense.
    """

    by_sparsity: dict[float, dict[str, Estimate]]
    ratios: dict[float, dict[str, Estimate]]


def read_curves(source: FitResult | str | Path) -> tuple[tuple[FittedCurve, ...], float]:
    """Return the curves of a fit or of its file, and the confidence of their intervals.

    Raises
    ------
    InputError
        Unreadable, not JSON, another schema, or a field that is missing or has a value that is not allowed.
    """
    if isinstance(source, FitResult):
        return as_curves(source.to_dict())
    content = read_json(source, HINT)
    try:
        return as_curves(content)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def read_parts(path: str | Path, workload: str) -> FittedParts:
    """Return c1, c2 and c1/c2 of each sparsity of one workload.

    Groups that name another workload are left out; groups without a sparsity count as dense.

    Raises
    ------
    InputError
        As `read_curves`; or no group is left, or two groups have the same sparsity.
    """
    content = read_json(path, HINT)
    try:
        table, entries = open_fit(content)
        parts = FittedParts(
            as_parts(entries, workload, "fits"),
            as_parts(as_list(table.get("ratios", []), "ratios"), workload, "ratios"),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not parts.by_sparsity:
        raise InputError(f"{path} holds no fit of the workload {workload!r}; fit the sweep of that workload")
    return parts


def open_fit(content: Any) -> tuple[Mapping[str, Any], list[Any]]:
    """Return what `FitResult.to_dict` returned or a file holds, once its schema is known, and its fits."""
    table = as_object(content, "the file")
    if table.get("schema") != SCHEMA:
        raise InputError(f"schema: got {table.get('schema')!r}, allowed {SCHEMA!r} (sparsefit fit --json)")
    return table, as_list(needed(table, "fits", ""), "fits")


def as_curves(content: Any) -> tuple[tuple[FittedCurve, ...], float]:
    """Read ``fits`` and ``confidence``."""
    table, entries = open_fit(content)
    if not entries:
        raise InputError("fits: got an empty list, allowed at least one fit")
    confidence = as_number(needed(table, "confidence", ""), "confidence")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: got {confidence:g}, allowed above 0 and below 1")
    curves = tuple(as_curve(entry, f"fits[{i}]") for i, entry in enumerate(entries))
    names = list(curves[0].group)
    for i, curve in enumerate(curves):
        if set(curve.group) != set(names):
            raise InputError(
                f"fits[{i}].group: got {list(curve.group)}, allowed the names of fits[0]: {names}"
            )
    return curves, confidence


def as_curve(value: Any, where: str) -> FittedCurve:
    """Read one entry of ``fits``."""
    table = as_object(value, where)
    related = table.get("log_correlation")
    if related is not None:
        related = as_number(related, f"{where}.log_correlation")
        if not -1 <= related <= 1:
            raise InputError(f"{where}.log_correlation: got {related:g}, allowed from -1 to 1")
    ends = as_list(needed(table, "batch_size_range", where), f"{where}.batch_size_range")
    if len(ends) != 2:
        raise InputError(f"{where}.batch_size_range: got {ends}, allowed [smallest, largest]")
    low, high = (as_positive(end, f"{where}.batch_size_range") for end in ends)
    return FittedCurve(
        group=dict(as_object(table.get("group", {}), f"{where}.group")),
        **as_estimates(table, where),
        log_correlation=related,
        region=None if table.get("region") is None else as_region(table, where),
        batch_size_range=(low, high),
        verdict=as_text(needed(table, "verdict", where), f"{where}.verdict"),
        verdict_reason=as_text(table.get("verdict_reason", ""), f"{where}.verdict_reason"),
    )


def as_region(fit: Mapping[str, Any], where: str) -> tuple[Array, Array]:
    """Read the region of an entry of ``fits``, and put the maximum of the likelihood before it."""
    region, likelihood = f"{where}.region", f"{where}.maximum_likelihood"
    table = as_object(fit["region"], region)
    best = as_object(needed(fit, "maximum_likelihood", where), likelihood)
    found = []
    for name in ("c1", "c2"):
        place = f"{region}.{name}"
        edge = [
            np.inf if end is None else as_number(end, place)
            for end in as_list(needed(table, name, region), place)
        ]
        if min(edge, default=0.0) < 0:
            raise InputError(f"{place}: got {min(edge):g}, allowed 0 or more")
        top = as_number(needed(best, f"log_{name}", likelihood), f"{likelihood}.log_{name}")
        with np.errstate(over="ignore"):
            found.append(np.array([np.exp(top), *edge]))
    if len(found[0]) != len(found[1]):
        raise InputError(
            f"{region}: got {len(found[0])} and {len(found[1])} points, allowed as many c1 as c2"
        )
    return found[0], found[1]


def as_parts(entries: list[Any], workload: str, where: str) -> dict[float, dict[str, Estimate]]:
    """Return the estimates of the entries of one workload by sparsity."""
    found: dict[float, dict[str, Estimate]] = {}
    for i, entry in enumerate(entries):
        place = f"{where}[{i}]"
        table = as_object(entry, place)
        group = as_object(table.get("group", {}), f"{place}.group")
        if str(value_of(group, "workload") or workload).lower() != workload.lower():
            continue
        sparsity = as_number(value_of(group, "sparsity") or 0.0, f"{place}.group.sparsity")
        if sparsity in found:
            raise InputError(
                f"{place}: a second fit of sparsity {sparsity:g}; one each is allowed: fit the rows of the "
                f"workload {workload!r} alone"
            )
        found[sparsity] = as_estimates(table, place)
    return found


def as_estimates(table: Mapping[str, Any], where: str) -> dict[str, Estimate]:
    """Read c1, c2 and c1/c2: ``{"value", "low", "high"}`` each, in rising order where not null."""
    found = {}
    for name in NAMES:
        place = f"{where}.{name}"
        ends = as_object(needed(table, name, where), place)
        low, value, high = (
            None if ends.get(end) is None else as_positive(ends[end], f"{place}.{end}")
            for end in ("low", "value", "high")
        )
        known = [end for end in (low, value, high) if end is not None]
        if known != sorted(known):
            raise InputError(f"{place}: got low, value, high = {known}, allowed in rising order")
        found[name] = Estimate(value, low, high)
    return found
