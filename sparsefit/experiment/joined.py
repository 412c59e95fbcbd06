"""Several sweeps of one workload as one table: grids that grew in more than one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sparsefit.errors import InputError
from sparsefit.experiment.records import Study
from sparsefit.experiment.store import Store, open_store
from sparsefit.experiment.study import difference
from sparsefit.experiment.tables import count_unfinished, steps_table

GRID = ("batch_sizes", "sparsities", "trials", "curves")
"""What sweeps of one table may differ in; the rest decides how many steps a trial takes."""

COSTS = (
    *("seconds", "total_seconds", "check_seconds", "runs"),
    *("samples", "checks", "evaluated", "floor"),
)
"""Columns that differ when the same trial runs twice, or further than it counts."""


def join(
    paths: Sequence[Path],
    make: Callable[[Store], pd.DataFrame],
    *,
    finished: bool = False,
    first: int | None = None,
) -> pd.DataFrame:
    """Return one table of the sweeps in `paths`, ordered by sparsity and batch size.

    Parameters
    ----------
    paths : sequence of Path
    make : callable
        Gives the table of one sweep: `tables.steps_table`, `tables.trials_table` and the like.
    finished : bool
        Only studies all of whose trials have ended.
    first : int, optional
        Count the first trials of every study only: the sweep as it would be with so many.

    Raises
    ------
    InputError
        The sweeps differ in more than their grids, or disagree on a study that two of them hold.
    """
    found: list[pd.DataFrame] = []
    seen: dict[Any, tuple[Path, pd.DataFrame]] = {}
    common: dict[str, Any] | None = None
    used: set[tuple[str, str]] = set()
    for path in paths:
        with open_store(path) as store:
            if first is not None:
                store.cut(first)
            table = make(store)
            common = common or store.content
            if differences := difference(without_grid(store.content), without_grid(common)):
                raise InputError(
                    f"{path} and {paths[0]} are sweeps of different workloads ({differences}); "
                    "collect each into a table of its own"
                )
            for session in store.sessions().values():
                used |= {(name, session[name]) for name in ("model", "dataset_sha256") if name in session}
            if len(used) > len({name for name, _ in used}):
                raise InputError(
                    f"{path} and {paths[0]} were collected with other layers or initial weights of the model "
                    f"{common['workload']['model']}, or on other data; collect each into a table of its own"
                )
            if finished:
                table = only_finished(table, store)
        if table.empty:
            continue
        for study, rows in table.groupby(["sparsity", "batch_size"], sort=True):
            if study not in seen:
                seen[study] = path, rows
                found.append(rows)
            elif not same(rows, seen[study][1]):
                raise InputError(
                    f"{path} and {seen[study][0]} disagree on the study at (sparsity, batch size) {study}; "
                    "if one goes on with the other, leave out the older, else collect them apart"
                )
    if not found:
        return table
    return pd.concat(found, ignore_index=True).sort_values(
        ["sparsity", "batch_size"], kind="stable", ignore_index=True
    )


def count_open(paths: Sequence[Path], first: int | None = None) -> int:
    """Return how many trials of the sweeps in `paths` have not ended, those that never began among them."""
    left: dict[Study, int] = {}
    for path in paths:
        with open_store(path) as store:
            if first is not None:
                store.cut(first)
            for study, here in count_unfinished(store).items():
                left[study] = min(here, left.get(study, here))
    return sum(left.values())


def without_grid(content: dict[str, Any]) -> dict[str, Any]:
    """Return what sweeps of one table must have in common, from the definition of one."""
    kept = {name: value for name, value in content.items() if name not in GRID}
    grids = ("batch_sizes", "sparsities", "trials")
    kept["workload"] = {name: value for name, value in content["workload"].items() if name not in grids}
    return kept


def only_finished(table: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Return the rows of the studies all of whose trials have ended."""
    steps = steps_table(store)
    if table.empty or steps.empty:
        return table
    ended = steps.loc[steps["unfinished"] == 0, ["sparsity", "batch_size"]]
    return table.merge(ended, on=["sparsity", "batch_size"])


def same(rows: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Say whether two tables of one study agree in all but costs."""
    ours, theirs = (
        table.drop(columns=[name for name in COSTS if name in table]).reset_index(drop=True)
        for table in (rows, others)
    )
    return ours.astype(str).equals(theirs.astype(str))
