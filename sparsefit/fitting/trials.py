"""Which rows are trials of one search, and which are the same search again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit.fitting.cells import identity
from sparsefit.fitting.columns import Columns, listed

if TYPE_CHECKING:
    import pandas as pd

UNEQUAL = 1.25
"""Times as many trials as another study that are told of."""


def add_trials(frame: pd.DataFrame, table: pd.DataFrame, columns: Columns, notes: list[str]) -> str | None:
    """Add the trial of each row, where none is named its setting; return the column, None without trials."""
    import pandas as pd

    name = columns.optional.get("trial")
    cell = table[name] if name else pd.Series("", index=table.index)
    if columns.by_setting:
        cell = cell.where(cell != "", settings(table, columns))
        differ = [other for other in columns.metaparameters if table[other].nunique() > 1]
        notes.append(
            f"rows that differ in {listed(differ)} count as trials, and the lowest steps of a batch size as "
            f"its steps-to-result; for a curve each, group by them: --by {','.join(differ)}"
        )
    if (cell == "").all():
        return None
    added = f"by {name or 'setting'}"
    frame[added] = cell
    return added


def settings(table: pd.DataFrame, columns: Columns) -> pd.Series:
    """Return the metaparameters of each row as text, "" where none is known."""
    import pandas as pd

    text = pd.Series("", index=table.index)
    for name in columns.metaparameters:
        text += np.where(table[name] == "", "", f"{name} " + identity(table[name]).astype(str) + " ")
    return text.str.strip()


def add_replicates(
    frame: pd.DataFrame, table: pd.DataFrame, columns: Columns, trial: str | None, notes: list[str]
) -> str | None:
    """Add the replicate of each row; return the column, None without one.

    Seeds that are new for every run repeat nothing as they stand: each would be a search of one trial.
    """
    name = columns.optional.get("replicate")
    if name is None:
        return None
    seed = f"by {name}"
    frame[seed] = table[name]
    if trial is None:
        return seed
    by = [f"by {other}" for other in columns.by]
    study = [*by, "batch_size"]
    rows = frame.assign(setting=settings(table, columns))
    for _, group in rows.groupby(by, sort=False, dropna=False) if by else [((), rows)]:
        if most(group, study, seed) == 1 or most(group, study, trial) == 1:
            continue
        crossed = most(group, [*study, "setting"], seed) > 1 and most(group, [*study, seed], "setting") > 1
        if most(group, [*study, trial], seed) == 1 and not crossed:
            frame.loc[group.index, seed] = ""
            note = (
                f"no trial has more than one {name!r}, so none is repeated: the lowest of all trials counts"
            )
        elif most(group, [*study, seed], trial) == 1 and most(group, [*by, seed], "batch_size") == 1:
            runs = group.groupby([*study, trial], dropna=False)[seed]
            frame.loc[group.index, seed] = runs.transform(lambda cell: cell.factorize()[0]).astype(str)
            note = f"no two trials share a {name!r}: the runs of each count as replicates in their order"
        else:
            continue
        if note not in notes:
            notes.append(note)
    return seed


def most(frame: pd.DataFrame, keys: list[str], column: str) -> int:
    """Return the most different values of a column that rows of equal keys have."""
    return int(frame.groupby(keys, dropna=False)[column].nunique().max())


def compare_searches(
    frame: pd.DataFrame,
    table: pd.DataFrame,
    columns: Columns,
    study: list[str],
    repeats: list[str],
    notes: list[str],
) -> None:
    """Note where some studies searched over more trials: those named, else their number, else settings."""
    import pandas as pd

    counts = pd.Series(np.nan, index=frame.index)
    keys = [frame[key] for key in [*study, *repeats]]
    if name := columns.optional.get("trial"):
        named = table[name].mask(table[name] == "").groupby(keys, dropna=False).transform("nunique")
        counts = named.where(named > 0)
    if name := columns.optional.get("trials"):
        said = pd.to_numeric(table[name], errors="coerce")
        counts = counts.fillna(said.where((said > 0) & np.isfinite(said)))
    if columns.by_setting:
        counts = counts.fillna(settings(table, columns).groupby(keys, dropna=False).transform("nunique"))
    counts = counts.groupby([frame[key] for key in study], dropna=False).max()
    if counts.max() > UNEQUAL * counts.min():
        notes.append(
            f"studies have {counts.min():g} to {counts.max():g} trials: steps-to-result is the lowest of "
            "them, so fewer look slower; compare equal numbers of trials (of a sweep: sparsefit collect "
            "--first)"
        )


def lowest(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the lowest step of the trials that reached the goal, or the lowest bound where none did.

    K* is the lowest over trials: if none reached the goal, all that is known is that it exceeds the lowest
    bound.
    """
    place = frame.groupby(keys, sort=False, dropna=False).ngroup()
    best = frame.sort_values(["censored", "steps"], kind="stable").drop_duplicates(keys)
    return best.loc[place[best.index].sort_values().index]
