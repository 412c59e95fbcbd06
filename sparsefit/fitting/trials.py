"""Which rows are trials of one search, and which are the same search again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.fitting.cells import plain, settings
from sparsefit.fitting.columns import Columns, listed, normalise

if TYPE_CHECKING:
    import pandas as pd

UNEQUAL = 1.25
"""Times as many trials as another study that are told of."""

SHARED = "settings under several seeds"
"""Column of rows whose setting counts by the mean over its seeds."""


def trial_cells(table: pd.DataFrame, columns: Columns) -> pd.Series:
    """Return the trial of each row, its setting where it names none and settings are trials; "" without."""
    import pandas as pd

    name = columns.optional.get("trial")
    cell = table[name] if name else pd.Series("", index=table.index)
    return cell.where(cell != "", settings(table, columns.metaparameters)) if columns.by_setting else cell


def add_trials(frame: pd.DataFrame, table: pd.DataFrame, columns: Columns, notes: list[str]) -> str | None:
    """Add the trial of each row; return the column, None without trials."""
    cell = trial_cells(table, columns)
    if columns.by_setting:
        differ = [other for other in columns.metaparameters if plain(table[other]).nunique() > 1]
        notes.append(
            f"rows that differ in {listed(differ)} count as trials, and the lowest steps of a batch size as "
            f"its steps-to-result; for a curve each, group by them: --by {shlex.quote(','.join(differ))}"
        )
    if (cell == "").all():
        return None
    added = f"by {columns.optional.get('trial') or 'setting'}"
    frame[added] = cell
    return added


def add_replicates(
    frame: pd.DataFrame, table: pd.DataFrame, columns: Columns, trial: str | None, notes: list[str]
) -> str | None:
    """Add the replicate of each row; return the column, None without one.

    Seeds that are new for every run repeat nothing: each would be a search of one trial. Then each run is a
    trial. Searches over the same settings with other seeds share what these settings miss, so they repeat no
    search either: rows of them are `SHARED`.
    """
    frame[SHARED] = False
    name = columns.optional.get("replicate")
    if name is None:
        return None
    seed = f"by {name}"
    frame[seed] = table[name]
    if trial is None or normalise(name) != "seed":
        return seed
    by = [f"by {other}" for other in columns.by]
    study = [*by, "batch_size"]
    setting = settings(table, columns.metaparameters)
    setting = setting.where(setting != "", frame[trial])
    for _, group in frame.groupby(by, sort=False, dropna=False) if by else [((), frame)]:
        trials = group.groupby([*study, seed], dropna=False)[trial].nunique()
        named = group.assign(**{trial: setting[group.index]})
        if trials.median() > 1 and most(named, [*study, trial], seed) > 1 < most(named, study, trial):
            frame.loc[group.index, trial] = named[trial]
            frame.loc[group.index, SHARED] = True
            note = (
                f"settings that ran with several values of {name!r} count by the geometric mean of their "
                "runs; where one value stands for a search of its own, call the column 'replicate'"
            )
            if note not in notes:
                notes.append(note)
            continue
        fresh = most(group, [*study, trial], seed) == 1 or most(group, [*by, seed], "batch_size") == 1
        if trials.median() > 1 or not fresh or most(group, study, trial) == 1:
            continue
        frame.loc[group.index, trial] = group[trial].astype(str) + " " + group[seed]
        frame.loc[group.index, seed] = ""
        note = (
            f"a {name!r} of its own for each run repeats no search: the lowest of all runs counts; where "
            "one stands for a whole search, call the column 'replicate'"
        )
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
        counts = counts.fillna(
            settings(table, columns.metaparameters).groupby(keys, dropna=False).transform("nunique")
        )
    largest = counts.groupby([frame[key] for key in study], dropna=False).transform("max")
    counts = largest.where(frame[SHARED], counts)
    if counts.max() > UNEQUAL * counts.min():
        notes.append(
            f"studies have {counts.min():g} to {counts.max():g} trials: steps-to-result is the lowest of "
            "them, so fewer look slower; compare equal numbers of trials (of a sweep: sparsefit collect "
            "--first)"
        )


def average_seeds(frame: pd.DataFrame, setting: list[str], seed: str) -> pd.DataFrame:
    """Return one row for each setting that ran under several seeds, a bound where one missed the goal."""
    import pandas as pd

    shared = frame[frame[SHARED]]
    keys = [shared[key] for key in setting]
    mean = np.log(shared["steps"]).groupby(keys, dropna=False).transform("mean")
    widest = {
        name: shared[name].groupby(keys, dropna=False).transform("max")
        for name in ("censored", "eval_interval")
    }
    one = shared.assign(steps=np.exp(mean), **widest, **{seed: ""}).drop_duplicates(setting)
    return pd.concat([frame[~frame[SHARED]], one]).sort_index()


def lowest(frame: pd.DataFrame, keys: list[str], notes: list[str]) -> pd.DataFrame:
    """Return the lowest step of the trials that reached the goal, or the lowest bound where none did.

    K* is the lowest over trials: if none reached the goal, all that is known is that it exceeds the lowest
    bound. Studies with a trial that was stopped earlier than that step are told of.
    """
    least = frame["steps"].groupby([frame["censored"], *(frame[key] for key in keys)], dropna=False).min()
    if set(frame["censored"]) == {False, True}:
        stopped, reached = least[True].align(least[False], join="inner")
        if early := int((stopped < reached).sum()):
            notes.append(
                f"{early} studies have trials that were stopped before the step at which the best one "
                "reached the goal: trained on, they might have been first, so these steps are at most an "
                "upper end of steps-to-result"
            )
    place = frame.groupby(keys, sort=False, dropna=False).ngroup()
    best = frame.sort_values(["censored", "steps"], kind="stable").drop_duplicates(keys)
    return best.loc[place[best.index].sort_values().index]
