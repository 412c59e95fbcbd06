"""Trials tables from and to the folders of Shallue et al. and of the paper's release.

Both keep one ``study.json`` a study (a workload at one batch size) and a ``metadata.json`` a trial, but
the same status words mean different things; `read_folder` and `write_folder` hide that behind one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sparsefit.errors import InputError
from sparsefit.fitting import layout_release, layout_shallue
from sparsefit.fitting.json_fields import as_object, read_json
from sparsefit.fitting.layout_files import Row
from sparsefit.fitting.layout_shallue import OBJECTIVE

LEADING = (
    "workload",
    "dataset",
    "model",
    "optimizer",
    "schedule",
    "goal_error",
    "comparison",
    "sparsity",
    "batch_size",
    "trial",
    "status",
    "steps",
    "max_steps",
    "eval_interval",
)
"""Columns of a trials table that come first, in this order; metaparameters and the rest follow."""

WHOLE = ("batch_size", "trial", "steps", "max_steps", "eval_interval")


@dataclass(frozen=True)
class Goal:
    """What a folder does not say itself.

    Attributes
    ----------
    error : float, optional
        Value of the objective to reach. Shallue's folders hold curves and no goal, so there it is needed.
    comparison : {"<", "<="}
        ``<`` is Shallue's; the release's folders come with their own results, under ``<=``.
    objective : str
        Column of Shallue's ``measurements.csv``.
    max_steps : int, optional
        Steps after which a trial of the release ended as incomplete: its folders do not say; 40,000 for MNIST
        and 100,000 for CIFAR-10 according to its README.
    """

    error: float | None = None
    comparison: str = "<"
    objective: str = OBJECTIVE
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if self.error is None:
            return
        if self.objective == OBJECTIVE and not 0 < self.error < 1:
            raise InputError(
                f"goal error: got {self.error:g}, allowed an error rate above 0 and below 1, not percent"
            )
        if not math.isfinite(self.error):
            raise InputError(f"goal for {self.objective}: got {self.error:g}, allowed a finite number")


def read_folder(folder: str | Path, goal: Goal | None = None) -> pd.DataFrame:
    """Read every study at or below a folder, whatever its layout.

    Parameters
    ----------
    folder : path
        A study, a workload, or anything above them.
    goal : Goal, optional
        What the folder does not say.

    Returns
    -------
    DataFrame
        One row a trial: the columns `LEADING`, then metaparameters. ``steps`` is empty unless the goal was
        reached; ``max_steps`` is then the last step known to have missed it, empty if that is unknown.

    Raises
    ------
    InputError
        No study there, a file that is missing, damaged or of another layout, or a goal that must be given.
    """
    folder = Path(folder)
    studies = sorted(folder.rglob("study.json"))
    if not studies:
        raise InputError(
            f"{folder} is a directory that holds no study.json: allowed are folders of Shallue et al. "
            "(batch_science) and of the "
            "paper's release, or any folder above them"
        )
    rows: list[Row] = []
    for path in studies:
        content = as_object(read_json(path), str(path))
        reader = layout_release if "nruns" in content else layout_shallue
        rows.extend(reader.read_study(path, content, goal or Goal()))
    if not rows:
        raise InputError(f"{folder} holds {len(studies)} studies, but no trial that counts")
    table = pd.DataFrame(rows)
    rest = [name for name in table.columns if name not in LEADING]
    table = table.reindex(columns=[*LEADING, *rest])
    for name in WHOLE:
        table[name] = table[name].astype("Int64")
    return table.sort_values(
        ["workload", "sparsity", "batch_size", "trial"], kind="stable", ignore_index=True
    )


Curves = Callable[[float, int, int], pd.DataFrame | None]
"""Gives the curve of a sparsity, batch size and trial, with the columns of ``measurements.csv``, or None."""

LAYOUTS = ("release", "shallue")


def write_folder(
    trials: pd.DataFrame,
    folder: str | Path,
    layout: str,
    *,
    search_space: Mapping[str, Mapping[str, Any]] | None = None,
    curves: Curves | None = None,
) -> int:
    """Write a trials table as a tree of folders that the authors' programs read.

    Parameters
    ----------
    trials : DataFrame
        One row a trial, with the columns `LEADING`.
    folder : path
        Must be absent or empty.
    layout : {"shallue", "release"}
    search_space : mapping, optional
        ``parameter_configs`` by metaparameter, for Shallue's ``study.json``; else taken from the values.
    curves : callable, optional
        Gives the validation curves, where they were recorded. Without one, ``measurements.csv`` has the one
        check at which the goal was met or was last missed, and a bound in place of the unknown error.

    Returns
    -------
    int
        Studies written.

    Raises
    ------
    InputError
        Unknown layout, missing columns, a folder that is not empty or cannot be written.
    """
    folder = Path(folder)
    if layout not in LAYOUTS:
        raise InputError(f"layout: got {layout!r}, allowed {', '.join(LAYOUTS)}")
    if missing := [name for name in LEADING if name not in trials.columns]:
        raise InputError(f"the table has no column {missing[0]!r}; a trials table has {', '.join(LEADING)}")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; give a new folder, so that no other sweep is mixed in")
    studies = trials.groupby(["workload", "sparsity", "batch_size"], sort=True)
    try:
        for _, study in studies:
            rows = [clean(row) for row in study.sort_values("trial").to_dict("records")]
            if layout == "release":
                layout_release.write_study(folder, rows)
            else:
                layout_shallue.write_study(folder, rows, search_space, curves)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error}") from error
    return len(studies)


def clean(row: Mapping[Any, Any]) -> Row:
    """Return plain Python values with None for what is empty, as JSON needs them."""
    out: Row = {}
    for name, value in row.items():
        if pd.isna(value):
            out[str(name)] = None
        else:
            out[str(name)] = value.item() if hasattr(value, "item") else value
    return out
