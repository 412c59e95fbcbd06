"""How the trial or the search behind a row ended, from the words and numbers of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit.errors import InputError
from sparsefit.fitting.cells import MISSING, refuse
from sparsefit.fitting.columns import YES, Columns

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

MEANING = {word: status for status, words in STATUS.items() for word in words}


def statuses(table: pd.DataFrame, columns: Columns, number: np.ndarray) -> np.ndarray:
    """Return ``reached``, ``not_reached``, ``capped`` or ``diverged`` for each row."""
    cell = table[columns.steps]
    refuse_ambiguous(table, columns.steps)
    said = np.where(number == -1, "not_reached", np.where(number == -2, "diverged", meanings(cell)))
    text = np.isnan(number) & (said == "") & ~cell.str.lower().isin(MISSING).to_numpy(bool)
    refuse(table, columns.steps, text, "a number, -1 (not reached) or -2 (diverged)")
    if name := columns.optional.get("outcome"):
        missed = ~table[name].str.lower().isin(YES).to_numpy(bool)
        refuse(table, name, ~missed & (said != "") & (said != "reached"), "a no where the steps say so")
        return np.where(said == "diverged", said, np.where(missed, "not_reached", "reached"))
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
