"""From the cells of a table to rows of steps-to-result: statuses, trials to their minimum, censoring."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import InputError
from sparsefit.fitting.cells import MISSING, identity, positive, refuse
from sparsefit.fitting.columns import Columns, normalise
from sparsefit.fitting.statuses import statuses
from sparsefit.fitting.trials import (
    SHARED,
    add_replicates,
    add_trials,
    average_seeds,
    compare_searches,
    lowest,
)

if TYPE_CHECKING:
    import pandas as pd


COARSE = 0.05
"""Greatest common divisor of all steps, as a share of the fewest, that looks like an evaluation interval."""


@dataclass(frozen=True)
class Measurements:
    """Rows of steps-to-result of all groups.

    Attributes
    ----------
    table : DataFrame
        Columns ``batch_size, steps, censored, eval_interval`` (NaN if exact) and ``by NAME`` for those of
        ``by``. The ``steps`` of a censored row are the bound T in K* > T.
    by : tuple of str
    level : str
        ``trials`` or ``steps-to-result``.
    warnings : tuple of str
    """

    table: pd.DataFrame
    by: tuple[str, ...]
    level: str
    warnings: tuple[str, ...]

    def groups(self) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
        """Yield each group, in the order of the file, and its rows."""
        if not self.by:
            yield {}, self.table
            return
        keys = [f"by {name}" for name in self.by]
        for key, rows in self.table.groupby(keys, sort=False, dropna=False):
            yield dict(zip(self.by, key, strict=True)), rows


def measure_steps(
    table: pd.DataFrame,
    columns: Columns,
    *,
    eval_interval: float | None = None,
    max_steps: float | None = None,
) -> Measurements:
    """Return rows of steps-to-result from a table of text.

    Trials, by their column or as settings that were tried at one batch size, make the table one of trials:
    each group, batch size and replicate gives one row, the lowest step of its trials that reached the goal,
    or a bound if none did. Otherwise each row is a steps-to-result. ``max_steps`` is the bound of rows that
    have none of their own.

    Raises
    ------
    InputError
        An argument or a cell is not what is allowed, or two rows disagree about one study.
    """
    import pandas as pd

    for argument, value in (("eval_interval", eval_interval), ("max_steps", max_steps)):
        if value is not None and not 0 < value < np.inf:
            raise InputError(f"{argument}: got {value}, allowed is a finite number of steps above 0")
    notes: list[str] = []
    size = positive(table, columns.batch_size)
    cell = table[columns.steps]
    number = pd.to_numeric(cell, errors="coerce").to_numpy(float)
    status = statuses(table, columns, number)
    lost = np.isin(status, ["not_reached", "capped"])
    reached = status == "reached"
    refuse(
        table,
        columns.steps,
        reached & ~(np.isfinite(number) & (number > 0)),
        "a positive number of steps, or -1 where the goal was not reached",
    )
    bound = np.where(np.isfinite(number) & (number > 0), number, np.nan)
    if name := columns.optional.get("max_steps"):
        limit = positive(table, name, empty=True)
        if not {"status", "outcome"} & set(columns.optional):
            seek_unreached(reached & (number >= limit), name, columns.steps, notes)
        capped = (status == "capped") & np.isfinite(bound)
        bound = np.where(np.isfinite(limit) & ~capped, limit, bound)
    if max_steps is not None:
        bound = np.where(np.isnan(bound), max_steps, bound)
    refuse(
        table,
        columns.steps,
        lost & np.isnan(bound),
        "a row that missed the goal only beside the steps that it was trained: add a column 'max_steps', or "
        "one number for all with --max-steps",
    )
    frame = pd.DataFrame({"batch_size": size, "steps": np.where(reached, number, bound), "censored": lost})
    frame["eval_interval"] = np.nan if eval_interval is None else float(eval_interval)
    if eval_interval is None and (name := columns.optional.get("eval_interval")):
        frame["eval_interval"] = positive(table, name, empty=True)
    for name in columns.by:
        if normalise(name) == "sparsity":
            share = pd.to_numeric(table[name], errors="coerce").to_numpy(float)
            none = table[name].str.lower().isin(MISSING).to_numpy()  # of a table that is joined to others
            outside = ~((share >= 0) & (share < 1)) & ~none
            refuse(table, name, outside, "the share of zeros, from 0 (dense) to below 1, not percent")
        frame[f"by {name}"] = identity(table[name])
    seek_interval(frame[reached], notes)
    by = [f"by {name}" for name in columns.by]
    study = [*by, "batch_size"]
    trial = add_trials(frame, table, columns, notes)
    replicate = add_replicates(frame, table, columns, trial, notes)
    repeats = [replicate] if replicate else []
    compare_searches(frame, table, columns, study, repeats, notes)
    own = [*repeats, trial] if trial else repeats
    frame = drop_diverged(frame, status == "diverged", study, trial, notes)
    if name := columns.optional.get("unfinished"):
        frame = drop_unfinished(frame, table[name], study, notes)
    frame = merge(frame, [*study, *own], notes)
    if trial is not None and frame[SHARED].any():
        frame = average_seeds(frame, [*study, trial], repeats[0])
    if trial is not None:
        frame = lowest(frame, [*study, *repeats], notes)
    frame = frame.drop(columns=[*own, SHARED]).reset_index(drop=True)
    return Measurements(frame, columns.by, "steps-to-result" if trial is None else "trials", tuple(notes))


def seek_unreached(full: np.ndarray, limit: str, steps: str, notes: list[str]) -> None:
    """Note that runs as long as they could be may have ended there, and not at the goal."""
    if full.any():
        notes.append(
            f"{int(full.sum())} rows, such as row {int(full.argmax()) + 1} below the header, have {limit!r} "
            f"or more {steps!r} and count as reached: where a run only ended there, write -1 in their place"
        )


def seek_interval(reached: pd.DataFrame, notes: list[str]) -> None:
    """Note that steps without an evaluation interval look as if they had one that moves them."""
    steps = reached["steps"].to_numpy()
    if reached["eval_interval"].notna().any() or len(np.unique(steps)) < 6 or (steps % 1 != 0).any():
        return
    interval = math.gcd(*(int(step) for step in steps))
    if interval > COARSE * steps.min():
        notes.append(
            f"all steps are multiples of {interval}, the fewest {steps.min():g}: if that is the evaluation "
            f"interval, say so with --eval-interval {interval}; as exact steps they make c2 too high"
        )


def drop_diverged(
    frame: pd.DataFrame, diverged: np.ndarray, study: list[str], trial: str | None, notes: list[str]
) -> pd.DataFrame:
    """Return the rows that did not diverge; note how many did, and which studies are left without a row.

    A setting that counts by the mean over its seeds is gone if it diverged under one of them.
    """
    import pandas as pd

    if not diverged.any():
        return frame
    if diverged.all():
        raise InputError(
            f"all {len(frame)} rows diverged: nothing is left to fit; search smaller learning rates"
        )
    notes.append(f"{int(diverged.sum())} diverged rows were counted, not fitted")
    if trial is not None:
        keys = [frame[key] for key in [*study, trial]]
        spoiled = pd.Series(diverged, index=frame.index).groupby(keys, dropna=False).transform("max")
        diverged = diverged | (frame[SHARED] & spoiled).to_numpy()
    studies = frame[study].drop_duplicates()
    left = frame.loc[~diverged, study].drop_duplicates()
    lost = studies[~studies.index.isin(studies.reset_index().merge(left, on=study)["index"])]
    if len(lost):
        names = "; ".join(describe(dict(row)) for _, row in lost.iterrows())
        notes.append(f"every trial diverged, so these studies are left out: {names}")
    return frame[~diverged].copy()


def drop_unfinished(
    frame: pd.DataFrame, unfinished: pd.Series, study: list[str], notes: list[str]
) -> pd.DataFrame:
    """Return the rows that say something: not those of studies without a result whose trials still run."""
    import pandas as pd

    still = (pd.to_numeric(unfinished, errors="coerce").fillna(0) > 0).reindex(frame.index).to_numpy(bool)
    lost = still & frame["censored"].to_numpy(bool)
    if lost.all():
        raise InputError(
            "no study is finished or has a trial that reached its goal: go on with the sweep first"
        )
    known = frame.loc[still & ~lost, study].drop_duplicates()
    if len(known):
        notes.append(
            f"{len(known)} studies have trials that have not ended (column "
            f"{unfinished.name!r}), so their steps may still fall; without them: sparsefit collect --finished"
        )
    rest = frame.loc[lost, study].drop_duplicates().merge(known, how="left", indicator=True)
    rest = rest.loc[rest.pop("_merge") == "left_only"]
    if len(rest):
        names = "; ".join(describe(dict(row)) for _, row in rest.iterrows())
        notes.append(f"not finished and without a trial that reached the goal, so left out: {names}")
    return frame[~lost].copy()


def merge(frame: pd.DataFrame, keys: list[str], notes: list[str]) -> pd.DataFrame:
    """Merge equal rows of one study; refuse rows that disagree."""
    unique = frame.drop_duplicates()
    twice = unique.duplicated(keys, keep=False)
    if twice.any():
        first = unique[twice].iloc[0]
        same = unique[(unique[keys] == first[keys]).all(axis=1)]
        rows = ", ".join(str(index + 1) for index in same.index[:5])
        found: Mapping[str, Any] = dict(first[keys])
        raise InputError(
            f"rows {rows} below the header disagree on the steps of one study ({describe(found)}); "
            "if they tried different settings, number those in a column 'trial', of which the lowest counts; "
            "if they ran one setting again, number the runs in a column 'seed', of which the mean counts; "
            "or split them into curves with --by"
        )
    if len(unique) < len(frame):
        notes.append(f"{len(frame) - len(unique)} rows repeat another row exactly and were merged")
    return unique


def describe(found: Mapping[str, Any]) -> str:
    """Return ``name value`` pairs as text."""
    return ", ".join(f"{name.removeprefix('by ')} {value}" for name, value in found.items())
