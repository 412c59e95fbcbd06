"""Fit every group of a table: from a file or a DataFrame to a `FitResult`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefit.errors import InputError
from sparsefit.fitting.columns import find_columns, listed
from sparsefit.fitting.fit import fit_curve
from sparsefit.fitting.ratios import compare_to_dense
from sparsefit.fitting.reading import open_table
from sparsefit.fitting.results import CurveFit, FitResult
from sparsefit.fitting.steps import Measurements, measure_steps
from sparsefit.fitting.verdict import LEAST_BATCH_SIZES

if TYPE_CHECKING:
    import pandas as pd


def fit(
    table: pd.DataFrame | str | Path,
    *,
    by: Sequence[str] | None = None,
    batch_column: str | None = None,
    steps_column: str | None = None,
    eval_interval: float | None = None,
    max_steps: float | None = None,
    confidence: float = 0.95,
) -> FitResult:
    """Fit K* = c1/B + c2 (Proposition 3.1 of Lee et al., arXiv 2003.11316) to each group of a table.

    Parameters
    ----------
    table : DataFrame, str or Path
        Measurements, or the path of a CSV (also gzip) or Parquet file; ``-`` reads standard input.
    by : sequence of str, optional
        Columns that split the rows into groups; found by name and content if not given, none if empty.
    batch_column, steps_column : str, optional
        Names of the columns, where they are not the usual ones.
    eval_interval : float, optional
        Steps between evaluations, for all rows; it takes the place of a column of the table.
    max_steps : float, optional
        Steps that rows which missed the goal were trained, where the table does not say.
    confidence : float
        Of all intervals, in (0, 1).

    Returns
    -------
    FitResult
        Groups that cannot be fitted are left out and named in its ``warnings``.

    Raises
    ------
    InputError
        The table cannot be read or understood, or no group can be fitted.
    """
    if isinstance(by, str):
        raise InputError(f"by: got the text {by!r}, allowed is a sequence of columns, such as [{by!r}]")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: got {confidence}, allowed is a number between 0 and 1, such as 0.95")
    cells, about = open_table(table)
    columns = find_columns(cells, by=by, batch_column=batch_column, steps_column=steps_column)
    measured = measure_steps(cells, columns, eval_interval=eval_interval, max_steps=max_steps)
    about |= {
        "rows": len(cells),
        "level": measured.level,
        "batch_column": columns.batch_size,
        "steps_column": columns.steps,
        "by": list(measured.by),
        "ignored": list(columns.ignored),
    }
    fits: list[CurveFit] = []
    refused: list[str] = []
    for key, rows in measured.groups():
        group = {name: value.item() if hasattr(value, "item") else value for name, value in key.items()}
        try:
            fits.append(
                fit_curve(
                    rows["batch_size"],
                    rows["steps"],
                    eval_interval=rows["eval_interval"],
                    censored=rows["censored"],
                    confidence=confidence,
                    group=group,
                )
            )
        except InputError as error:
            refused.append(f"{name_group(group)}{error}")
    if not fits:
        raise InputError(refused[0] if len(refused) == 1 else no_group(refused, measured.by))
    return FitResult(
        fits=tuple(fits),
        ratios=compare_to_dense(fits),
        confidence=confidence,
        input=about,
        warnings=(
            *measured.warnings,
            *(f"left out: {reason}" for reason in refused),
            *(few_batch_sizes(measured, columns.guessed) if by is None else ()),
        ),
    )


def name_group(group: Mapping[str, Any]) -> str:
    """Return what stands before a message on one group, nothing where there is one group without a name."""
    return ", ".join(f"{name} {value}" for name, value in group.items()) + ": " if group else ""


def no_group(refused: Sequence[str], by: Sequence[str]) -> str:
    """Return the message for a table none of whose groups can be fitted."""
    return (
        f"none of the {len(refused)} groups by {', '.join(by)} can be fitted; the first: {refused[0]}; "
        "choose the columns that split the rows with --by, or one curve of all rows with --by ''"
    )


def few_batch_sizes(measured: Measurements, guessed: Sequence[str]) -> Iterator[str]:
    """Note that columns which no name tells split the rows into groups of too few batch sizes to judge."""
    split = [name for name in guessed if measured.table[f"by {name}"].nunique() > 1]
    if not split:
        return
    kept = ",".join(name for name in measured.by if name not in guessed)
    least = min(rows["batch_size"].nunique() for _, rows in measured.groups())
    if least < LEAST_BATCH_SIZES and least < measured.table["batch_size"].nunique():
        yield (
            f"text in {listed(split)} splits the rows into groups, the smallest of {least} batch sizes, and "
            f"{LEAST_BATCH_SIZES} are needed; for one curve of them all: --by {shlex.quote(kept)}"
        )
