"""One input of a report: its rows as a table with one set of names, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.fitting.cells import MISSING
from sparsefit.fitting.columns import OPTIONAL, find_columns, normalise
from sparsefit.fitting.layout_files import METAPARAMETERS
from sparsefit.fitting.reading import as_text
from sparsefit.fitting.statuses import statuses
from sparsefit.fitting.steps import measure_steps

if TYPE_CHECKING:
    import pandas as pd

COSTS = ("samples", "seconds", "total_seconds", "check_seconds", "checks", "evaluated", "floor", "runs")
"""Columns on the cost of a trial, which the store of a sweep records."""

GROUPS = {"sparsity": "sparsity", "workload": "workload", "optimizer": "optimizer", "optimiser": "optimizer"}
"""Columns that claims and figures ask for by name, however a table spells them."""

RESERVED = {"batch_size", "steps", "censored", *(alias for names in OPTIONAL.values() for alias in names)}
"""Names that mean something else in `Source.cells`: columns of groups that have them get another one."""


@dataclass(frozen=True)
class Source:
    """One input of a report.

    Attributes
    ----------
    path : str
        As the user named it.
    kind : str
        ``sweep`` or ``table``.
    sha256 : str
        Of the bytes of the file.
    cells : DataFrame of str
        Columns ``batch_size, steps, status, max_steps, eval_interval, trial, replicate``, those of ``by``
        and what else there is; empty cells where nothing is known.
    by : tuple of str
        Columns that split the rows into groups.
    about : mapping
        Ancestry, name to text: schema, versions, checksums.
    search_space : mapping
        ``{"min_value", "max_value", "scale"}`` by metaparameter; empty where not recorded.
    curves : DataFrame or None
        Columns ``sparsity, batch_size, trial, step, training_loss, validation_error, validation_loss``.
    """

    path: str
    kind: str
    sha256: str
    cells: pd.DataFrame
    by: tuple[str, ...]
    about: Mapping[str, str] = field(default_factory=dict)
    search_space: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: pd.DataFrame | None = None

    @property
    def metaparameters(self) -> tuple[str, ...]:
        """Names of the columns of metaparameters: those searched, else those of the built-in workloads."""
        names = self.search_space or [name for name in METAPARAMETERS if name in self.cells]
        return tuple(name for name in names if name in self.cells)


def make_source(
    table: pd.DataFrame,
    path: str,
    kind: str,
    sha256: str,
    *,
    by: Sequence[str] | None = None,
    batch_column: str | None = None,
    steps_column: str | None = None,
    eval_interval: float | None = None,
    max_steps: float | None = None,
    **details: Any,
) -> Source:
    """Give the columns of a table their names and every row its status.

    Parameters
    ----------
    table : DataFrame
    path, kind, sha256
        As in `Source`, like what else is given.
    by, batch_column, steps_column, eval_interval, max_steps
        As for `sparsefit.fitting.fit_table.fit`.

    Raises
    ------
    InputError
        The table has no column of batch sizes or steps, or a cell is not what its column allows.
    """
    import pandas as pd

    cells = as_text(table)
    columns = find_columns(cells, by=by, batch_column=batch_column, steps_column=steps_column)
    # It complains of wrong cells by their rows in this file.
    measure_steps(cells, columns, eval_interval=eval_interval, max_steps=max_steps)
    number = pd.to_numeric(cells[columns.steps], errors="coerce").to_numpy(float)
    status = statuses(cells, columns, number)
    own = {columns.optional[name]: name for name in columns.optional}
    own |= {columns.batch_size: "batch_size", columns.steps: "steps"}
    for name in columns.by:
        canonical = GROUPS.get(normalise(name))
        if canonical is not None and canonical not in own.values() and canonical not in cells:
            own[name] = canonical
        elif normalise(name) in RESERVED:
            own[name] = f"{name} (group)"
    unused = [name for name in cells if name not in own and normalise(str(name)) in ("batch_size", "steps")]
    found = cells.drop(columns=unused).rename(columns=own)
    for name in ("max_steps", "eval_interval", "trial", "replicate"):
        if name not in found:
            found[name] = ""
    if eval_interval is not None:
        found["eval_interval"] = str(eval_interval)
    for name in ("sparsity", "max_steps", "eval_interval"):
        if name in found:
            found.loc[found[name].str.lower().isin(MISSING), name] = ""
    reached = status == "reached"
    bound = (
        ~reached & np.isfinite(number) & (number > 0) & ((found["max_steps"] == "") | (status == "capped"))
    )
    found["max_steps"] = np.where(bound, found["steps"], found["max_steps"])
    if max_steps is not None:
        found.loc[~reached & (found["max_steps"] == ""), "max_steps"] = str(max_steps)
    found["steps"] = np.where(reached, found["steps"], "")
    found["status"] = status
    return Source(path, kind, sha256, found, tuple(own.get(name, name) for name in columns.by), **details)
