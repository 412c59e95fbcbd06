"""Cells of a table of text as numbers, and the error for those that are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

EUROPEAN = "decimal commas"
"""Key in the ``attrs`` of a table whose file may write decimal commas, and so points between thousands."""

THOUSANDS = re.compile(r"[1-9]\d{0,2}(\.\d{3})+")

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
        split = re.fullmatch(r"[+-]?[\d.]*[,\s][\d.,\s]+", table[name].iloc[row])
        hint = "; write numbers without separators of thousands and with a decimal point" if split else ""
        raise InputError(
            f"row {row + 1} below the header, column {name!r}: got {table[name].iloc[row]!r}, "
            f"allowed is {allowed}{more}{hint}"
        )


def refuse_thousands(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise where the points in a column of such a file may separate thousands or decimals."""
    for name in names if table.attrs.get(EUROPEAN) else ():
        split = table[name][table[name].str.fullmatch(r"\d[\d.]*\.\d*")]
        if len(split) and split.str.fullmatch(THOUSANDS).all():
            got, whole = split.iloc[0], split.iloc[0].replace(".", "")
            raise InputError(
                f"column {name!r}: got {got!r}, which may mean {whole} or three decimals; write {whole} "
                f"without a separator of thousands, or {got}0 if decimals are meant"
            )


def identity(column: pd.Series) -> pd.Series:
    """Return numbers where all cells that are not missing are numbers, else text."""
    import pandas as pd

    number = pd.to_numeric(column, errors="coerce")
    known = np.isfinite(number)
    if known.all():
        return number
    missing = column.str.lower().isin(MISSING)
    return number.astype(object).where(known, column) if bool((known | missing).all()) else column


def plain(column: pd.Series) -> pd.Series:
    """Return the same text for the same number, as 0.1 for 0.10; other text as it is."""
    import pandas as pd

    number = pd.to_numeric(column, errors="coerce")
    return column.mask(np.isfinite(number), number.astype(str))


def settings(table: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Return the metaparameters of each row as text, "" where none is known."""
    import pandas as pd

    text = pd.Series("", index=table.index)
    for name in names:
        text += np.where(table[name] == "", "", f"{name} " + plain(table[name]) + " ")
    return text.str.strip()
