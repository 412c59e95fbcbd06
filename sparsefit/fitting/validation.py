"""Does Proposition 3.1 hold in a table of measurements: every claim, judged by its own test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sparsefit.errors import InputError
from sparsefit.fitting.claims_curve import hyperbola, lack_of_fit, regimes
from sparsefit.fitting.critical_batch_sizes import OVERHEAD, critical_batch_sizes
from sparsefit.fitting.decomposition import Decomposition
from sparsefit.fitting.fit_table import fit
from sparsefit.fitting.reading import as_text, read_table
from sparsefit.fitting.validation_records import Claim, ValidationResult

if TYPE_CHECKING:
    import pandas as pd


def validate(
    table: pd.DataFrame | str | Path,
    decompositions: Sequence[Decomposition] = (),
    *,
    by: Sequence[str] | None = None,
    batch_column: str | None = None,
    steps_column: str | None = None,
    eval_interval: float | None = None,
    confidence: float = 0.95,
    overhead: float = OVERHEAD,
    first_batch_size: float | None = None,
) -> ValidationResult:
    """Judge every claim of Lee et al. (arXiv 2003.11316) on c1/B + c2 and on sparsity; see docs/math.md.

    Parameters
    ----------
    table : DataFrame, str or Path
        As for `sparsefit.fitting.fit_table.fit`. A table of trials, as ``sparsefit collect --trials`` writes
        it, also lets the claims on the learning rate be judged.
    decompositions : sequence of Decomposition
        Measured or published parts of c1, each for the groups of its workload.
    by, batch_column, steps_column, eval_interval, confidence
        As for `sparsefit.fitting.fit_table.fit`.
    overhead, first_batch_size
        As for `sparsefit.fitting.critical_batch_sizes.critical_batch_sizes`.

    Returns
    -------
    ValidationResult

    Raises
    ------
    InputError
        The table cannot be read or understood, no group can be fitted, or an argument is not allowed.
    """
    for name, value in (("overhead", overhead), ("first_batch_size", first_batch_size)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name}: got {value}, allowed is a finite number above 0")
    about = {}
    if isinstance(table, str | Path):
        cells, source = read_table(table)
        about = {"path": source.path, "sha256": source.sha256}
    else:
        cells = as_text(table)
    found = fit(
        cells,
        by=by,
        batch_column=batch_column,
        steps_column=steps_column,
        eval_interval=eval_interval,
        confidence=confidence,
    )
    found = replace(found, input={**found.input, **about})
    claims: list[Claim] = []
    for judge in (hyperbola, lack_of_fit, regimes):
        claims += [judge(curve) for curve in found.fits]
    return ValidationResult(
        claims=tuple(claims),
        critical_batch_sizes=tuple(
            size
            for curve in found.fits
            for size in critical_batch_sizes(curve, overhead=overhead, first_batch_size=first_batch_size)
        ),
        fit=found,
        confidence=confidence,
        decompositions=tuple(decomposition.workload for decomposition in decompositions),
    )
