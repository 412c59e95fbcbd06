"""Cells of a table of text as numbers, and the error for those that are not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MISSING = {"", "nan", "na", "n/a", "none", "null", "<na>"}


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
