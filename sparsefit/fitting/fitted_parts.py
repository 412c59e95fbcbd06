"""The fitted c1 and c2 of a sweep, to stand beside those that a decomposition predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefit.errors import InputError
from sparsefit.fitting.columns import value_of
from sparsefit.fitting.json_fields import as_list, as_number, as_object, as_positive, needed, read_json
from sparsefit.fitting.results import SCHEMA, Estimate

NAMES = ("c1", "c2", "critical_batch_size")


@dataclass(frozen=True)
class FittedParts:
    """What a ``sparsefit.fit/1`` file says of the sparsities of one workload.

    Attributes
    ----------
    by_sparsity : dict of float to dict of str to Estimate
        ``c1``, ``c2`` and ``critical_batch_size``.
    ratios : dict of float to dict of str to Estimate
        The same, sparse over dense.
    """

    by_sparsity: dict[float, dict[str, Estimate]]
    ratios: dict[float, dict[str, Estimate]]


def load_fitted(path: str | Path, workload: str) -> FittedParts:
    """Read c1, c2 and c1/c2 of each sparsity.

    Groups that name another workload are left out; groups without a sparsity count as dense.

    Raises
    ------
    InputError
        Not a file of that schema; no group is left, or two groups have the same sparsity.
    """
    table = as_object(read_json(path), f"{path}")
    if table.get("schema") != SCHEMA:
        raise InputError(
            f"{path}: schema: got {table.get('schema')!r}, allowed {SCHEMA!r} (sparsefit fit --json)"
        )
    try:
        by_sparsity = collect(as_list(needed(table, "fits", ""), "fits"), workload, "fits")
        ratios = collect(as_list(table.get("ratios", []), "ratios"), workload, "ratios")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not by_sparsity:
        raise InputError(f"{path} holds no fit of the workload {workload!r}; fit the sweep of that workload")
    return FittedParts(by_sparsity, ratios)


def collect(entries: list[Any], workload: str, where: str) -> dict[float, dict[str, Estimate]]:
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
        found[sparsity] = {name: as_estimate(needed(table, name, place), f"{place}.{name}") for name in NAMES}
    return found


def as_estimate(value: Any, where: str) -> Estimate:
    """Read ``{"value", "low", "high"}``, each of which may be null."""
    table: Mapping[str, Any] = as_object(value, where)
    ends = (
        None if table.get(end) is None else as_positive(table[end], f"{where}.{end}")
        for end in ("value", "low", "high")
    )
    return Estimate(*ends)
