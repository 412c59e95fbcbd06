"""From the cells of a table to rows of steps-to-result: statuses, trials to their minimum, censoring."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import InputError
from sparsefit.fitting.columns import Columns, listed, normalise

if TYPE_CHECKING:
    import pandas as pd

STATUS = {
    "reached": ("reached", "complete"),
    "not_reached": (
        "not_reached",
        "incomplete",
        "not reached",
        "did_not_reach",
        "did not reach",
        "-1",
        "-1.0",
    ),
    "capped": ("capped",),
    "diverged": ("diverged", "infeasible", "-2", "-2.0"),
}
"""Words of sparsefit and of the release, which also writes numbers."""

AMBIGUOUS = ("COMPLETE", "INCOMPLETE")
"""Words of the files of Shallue et al. that mean something else than the release's in lower case."""

UNEQUAL = 1.25
"""Times as many trials as another study that are told of."""

MEANING = {word: status for status, words in STATUS.items() for word in words}
MISSING = {"", "nan", "na", "n/a", "none", "null", "<na>"}


@dataclass(frozen=True)
class Measurements:
    """Rows of steps-to-result of all groups.

    Attributes
    ----------
    table : DataFrame
        Columns ``batch_size, steps, censored, eval_interval`` (NaN if exact) and those of ``by``. The
        ``steps`` of a censored row are the bound T in K* > T.
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
        for key, rows in self.table.groupby(list(self.by), sort=False, dropna=False):
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
        A cell is not what its column allows, or two rows disagree about one study.
    """
    import pandas as pd

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
        capped = (status == "capped") & np.isfinite(bound)
        bound = np.where(np.isfinite(limit) & ~capped, limit, bound)
    if max_steps is not None:
        bound = np.where(np.isnan(bound), max_steps, bound)
    refuse(
        table,
        columns.steps,
        lost & np.isnan(bound),
        "a row that missed the goal only beside the steps that it was trained: add a column 'max_steps', or "
        "one number for all with sparsefit fit --max-steps",
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
    by = [f"by {name}" for name in columns.by]
    study = [*by, "batch_size"]
    notes: list[str] = []
    trial = add_trials(frame, table, columns, notes)
    replicate = add_replicates(frame, table, columns, trial, notes)
    repeats = [replicate] if replicate else []
    compare_searches(frame, table, columns, study, repeats, notes)
    frame = drop_diverged(frame, status == "diverged", study, notes)
    if name := columns.optional.get("unfinished"):
        frame = drop_unfinished(frame, table[name], study, notes)
    own = [*repeats, trial] if trial else repeats
    frame = merge(frame, [*study, *own], notes)
    if trial is not None:
        frame = lowest(frame, [*study, *repeats])
    frame = frame.drop(columns=own).reset_index(drop=True)
    frame = frame.rename(columns=dict(zip(by, columns.by, strict=True)))
    return Measurements(frame, columns.by, "steps-to-result" if trial is None else "trials", tuple(notes))


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


def drop_diverged(
    frame: pd.DataFrame, diverged: np.ndarray, study: list[str], notes: list[str]
) -> pd.DataFrame:
    """Return the rows that did not diverge; note how many did, and which studies are left without a row."""
    if not diverged.any():
        return frame
    if diverged.all():
        raise InputError(
            f"all {len(frame)} rows diverged: nothing is left to fit; search smaller learning rates"
        )
    notes.append(f"{int(diverged.sum())} diverged rows were counted, not fitted")
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


def statuses(table: pd.DataFrame, columns: Columns, number: np.ndarray) -> np.ndarray:
    """Return ``reached``, ``not_reached``, ``capped`` or ``diverged`` for each row."""
    cell = table[columns.steps]
    refuse_ambiguous(table, columns.steps)
    said = np.where(number == -1, "not_reached", np.where(number == -2, "diverged", meanings(cell)))
    text = np.isnan(number) & (said == "") & ~cell.str.lower().isin(MISSING).to_numpy(bool)
    refuse(table, columns.steps, text, "a number, -1 (not reached) or -2 (diverged)")
    name = columns.optional.get("status")
    if name is None:
        return np.where(said == "", "reached", said)
    refuse_ambiguous(table, name)
    status = meanings(table[name])
    refuse(table, name, status == "", f"one of {', '.join(MEANING)}")
    agree = (said == "") | (said == status) | ((said == "not_reached") & (status == "capped"))
    refuse(table, name, ~agree, f"a status that does not contradict the column {columns.steps!r}")
    return status


def meanings(column: pd.Series) -> np.ndarray:
    """Return what each cell says about how a trial ended, "" where it is no such word."""
    code, words = column.factorize()
    return np.array([MEANING.get(text.lower(), "") for text in words], dtype=object)[code]


def refuse_ambiguous(table: pd.DataFrame, name: str) -> None:
    """Raise for Shallue's words, whose steps are those trained, whether or not the goal was reached."""
    found = sorted(set(AMBIGUOUS) & set(table[name].unique()))
    if found:
        raise InputError(
            f"column {name!r}: got {found[0]!r}, which in Shallue et al.'s files says how a trial ended, not "
            "whether it reached the goal; read their folders, which hold the curves "
            "(sparsefit.fitting.layouts.read_folder): sparsefit collect DIRECTORY --goal-error ERROR; "
            "or write 'reached' and 'not_reached' if that is meant"
        )


def positive(table: pd.DataFrame, name: str, *, empty: bool = False) -> np.ndarray:
    """Return a column of positive finite numbers; ``empty`` lets missing cells be NaN."""
    import pandas as pd

    number = pd.to_numeric(table[name], errors="coerce").to_numpy(float)
    wrong = ~(np.isfinite(number) & (number > 0))
    if empty:
        wrong &= ~table[name].str.lower().isin(MISSING).to_numpy()
    refuse(table, name, wrong, "a finite number above 0")
    return number


def refuse(table: pd.DataFrame, name: str, wrong: np.ndarray, allowed: str) -> None:
    """Raise for the first row that is wrong."""
    if wrong.any():
        row = int(np.argmax(wrong))
        more = f" ({int(wrong.sum())} such rows)" if wrong.sum() > 1 else ""
        comma = re.fullmatch(r"[+-]?[\d.]*,[\d.,]+", table[name].iloc[row])
        hint = "; write numbers without separators of thousands and with a decimal point" if comma else ""
        raise InputError(
            f"row {row + 1} below the header, column {name!r}: got {table[name].iloc[row]!r}, "
            f"allowed is {allowed}{more}{hint}"
        )


def identity(column: pd.Series) -> pd.Series:
    """Return numbers where the whole column is numbers, else text."""
    import pandas as pd

    number = pd.to_numeric(column, errors="coerce")
    return number if bool(np.isfinite(number).all()) else column


def lowest(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the lowest step of the trials that reached the goal, or the lowest bound where none did.

    K* is the lowest over trials: if none reached the goal, all that is known is that it exceeds the lowest
    bound.
    """
    place = frame.groupby(keys, sort=False, dropna=False).ngroup()
    best = frame.sort_values(["censored", "steps"], kind="stable").drop_duplicates(keys)
    return best.loc[place[best.index].sort_values().index]


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
            "if they ran one setting again, number the runs in a column 'replicate' or 'seed', of which the "
            "curve takes the mean; or split them into curves with --by"
        )
    if len(unique) < len(frame):
        notes.append(f"{len(frame) - len(unique)} rows repeat another row exactly and were merged")
    return unique


def describe(found: Mapping[str, Any]) -> str:
    """Return ``name value`` pairs as text."""
    return ", ".join(f"{name.removeprefix('by ')} {value}" for name, value in found.items())
