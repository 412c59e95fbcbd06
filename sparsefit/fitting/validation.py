"""Does Proposition 3.1 hold in a table of measurements: every claim, judged by its own test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sparsefit.errors import InputError
from sparsefit.fitting.claims import CATALOGUE, claim
from sparsefit.fitting.claims_boundary import metaparameter_boundary
from sparsefit.fitting.claims_curve import hyperbola, lack_of_fit, regimes
from sparsefit.fitting.claims_decomposition import c1_ratio
from sparsefit.fitting.claims_momentum import critical_batch_size_momentum
from sparsefit.fitting.claims_scaling import scaling_prediction
from sparsefit.fitting.claims_search import (
    Search,
    learning_rate_grows,
    learning_rate_inside,
    learning_rate_range,
)
from sparsefit.fitting.claims_sparsity import critical_batch_size_sparse, shared_shape, sparse_over_dense
from sparsefit.fitting.claims_trend import universal_trend
from sparsefit.fitting.columns import find_columns
from sparsefit.fitting.critical_batch_sizes import OVERHEAD, critical_batch_sizes
from sparsefit.fitting.decomposition import Decomposition
from sparsefit.fitting.fit_table import fit
from sparsefit.fitting.reading import open_table
from sparsefit.fitting.results import FitResult
from sparsefit.fitting.validation_records import Claim, ValidationResult
from sparsefit.fitting.verdict import GRID_UNITS, LEAST_BATCH_SIZES

if TYPE_CHECKING:
    import pandas as pd

NO_TWIN = "No group has a sparsity above 0 and a dense group that agrees in all else."


def validate(
    table: pd.DataFrame | str | Path,
    decompositions: Sequence[Decomposition] = (),
    *,
    by: Sequence[str] | None = None,
    batch_column: str | None = None,
    steps_column: str | None = None,
    eval_interval: float | None = None,
    max_steps: float | None = None,
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
    by, batch_column, steps_column, eval_interval, max_steps, confidence
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
    cells, about = open_table(table)
    columns = find_columns(cells, by=by, batch_column=batch_column, steps_column=steps_column)
    found = fit(
        cells,
        by=by,
        batch_column=batch_column,
        steps_column=steps_column,
        eval_interval=eval_interval,
        max_steps=max_steps,
        confidence=confidence,
    )
    found = replace(found, input={**found.input, **about})
    search = Search(cells, columns)
    return ValidationResult(
        claims=tuple(judge(found, search, decompositions)),
        critical_batch_sizes=tuple(
            size
            for curve in found.fits
            for size in critical_batch_sizes(curve, overhead=overhead, first_batch_size=first_batch_size)
        ),
        fit=found,
        confidence=confidence,
        decompositions=tuple(decomposition.workload for decomposition in decompositions),
    )


def judge(found: FitResult, search: Search, decompositions: Sequence[Decomposition]) -> list[Claim]:
    """Return every claim of the catalogue, in its order."""
    fits, ratios = found.fits, found.ratios
    groups = [fit.group for fit in fits]
    confidence = found.confidence
    made: dict[str, list[Claim]] = {
        "hyperbola": [hyperbola(fit) for fit in fits],
        "universal_trend": universal_trend(fits, confidence),
        "lack_of_fit": [lack_of_fit(fit) for fit in fits],
        "scaling_prediction": [scaling_prediction(fit) for fit in fits],
        "regimes": [regimes(fit) for fit in fits],
        "shared_shape": [shared_shape(ratio) for ratio in ratios],
        "sparse_over_dense": [sparse_over_dense(ratio, fits) for ratio in ratios],
        "critical_batch_size_sparse": [critical_batch_size_sparse(ratio) for ratio in ratios],
        "critical_batch_size_momentum": critical_batch_size_momentum(fits),
        "c1_ratio": c1_ratio(ratios, decompositions, confidence),
        "learning_rate_grows": [learning_rate_grows(search, group, confidence) for group in groups],
        "learning_rate_inside": [learning_rate_inside(search, group) for group in groups],
        "learning_rate_range": [learning_rate_range(search, ratio, confidence) for ratio in ratios],
        "metaparameter_boundary": [metaparameter_boundary(search, group) for group in groups],
    }
    missing = {
        "universal_trend": f"It takes two curves that reached the goal at {LEAST_BATCH_SIZES} batch sizes or "
        f"more and have a plateau of {GRID_UNITS:g} evaluation intervals or more.",
        "critical_batch_size_momentum": "No two groups differ only in whether the optimizer has momentum.",
        "c1_ratio": "No sparse group has a decomposition of its workload and sparsity; measure one with: "
        "sparsefit decompose --save",
    }
    return [
        entry
        for name in CATALOGUE
        for entry in made[name] or [claim(name, "cannot tell", missing.get(name, NO_TWIN))]
    ]
