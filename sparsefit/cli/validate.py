"""``sparsefit validate``: whether Proposition 3.1 holds in a table, claim by claim."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsefit.cli.columns import column_options
from sparsefit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@click.command(name="validate", short_help="Judge the paper's claims on a table.")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@click.option(
    "--decomposition",
    "decompositions",
    multiple=True,
    help="Measured parts of c1 (sparsefit decompose --save); may be given for several workloads.",
)
@column_options
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the intervals.")
@click.option(
    "--overhead",
    type=float,
    default=0.2,
    show_default=True,
    help="A batch size is critical where the work K·B exceeds its least by this share.",
)
@click.option(
    "--first-batch-size",
    type=float,
    help="B0 from which linear scaling is drawn.  [default: smallest that met the goal]",
)
@click.option("--json", "json_path", help="Write all numbers as JSON; - for stdout.")
@click.option("--strict", is_flag=True, help="Exit with 1 if a claim fails.")
def command(
    tables: tuple[str, ...],
    decompositions: tuple[str, ...],
    by: list[str] | None,
    batch_column: str | None,
    steps_column: str | None,
    eval_interval: float | None,
    max_steps: int | None,
    confidence: float,
    overhead: float,
    first_batch_size: float | None,
    json_path: str | None,
    strict: bool,
) -> None:
    """Judge every claim on K* = c1/B + c2 and on sparsity: holds, fails or cannot tell.

    TABLE is a file that `sparsefit fit` reads, or a sweep (.db); of a folder, `sparsefit collect` makes a
    table. Claims on the learning rate need a row a trial: a sweep, or `sparsefit collect --trials`. Several
    tables count as one. docs/math.md derives each claim.

    The exit code is 0 whatever the verdicts, unless --strict is given.

    \b
    Example:
        sparsefit validate results.csv
        sparsefit validate w1.db w2.db --decomposition w1.json --json v.json
        sparsefit validate examples/simulated_sparsity.csv --strict
    """
    from sparsefit.cli.output import check_outputs, write

    check_outputs({"--json": json_path}, [*tables, *decompositions])

    import dataclasses

    from sparsefit.fitting import decomposition_file
    from sparsefit.fitting.json_fields import as_json
    from sparsefit.fitting.validation import validate

    known = [decomposition_file.load(path) for path in decompositions]
    cells, about = read_all(tables, batch_column, steps_column)
    result = validate(
        cells,
        known,
        by=by,
        batch_column=batch_column,
        steps_column=steps_column,
        eval_interval=eval_interval,
        max_steps=max_steps,
        confidence=confidence,
        overhead=overhead,
        first_batch_size=first_batch_size,
    )
    fit = dataclasses.replace(result.fit, input={**result.fit.input, **about})
    result = dataclasses.replace(result, fit=fit)
    if json_path is not None:
        write(json_path, as_json(result.to_dict()).encode())
    if json_path != "-":
        from rich.console import Console

        from sparsefit.report.terminal import show
        from sparsefit.report.validation_table import render

        show(Console(), render(result))
    if strict and result.failed:
        sys.exit(1)


def read_all(
    paths: tuple[str, ...], batch_column: str | None, steps_column: str | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the rows of all tables as text, and where they came from."""
    import pandas as pd

    from sparsefit.fitting.cells import EUROPEAN
    from sparsefit.fitting.columns import find_columns

    if paths.count("-") > 1:
        raise InputError("- stands twice; standard input can be read once")
    found = [read(path) for path in paths]
    for path, (table, _) in zip(paths, found, strict=True):
        if table.attrs.get(EUROPEAN):  # points in it may separate thousands, whatever the others hold
            try:
                find_columns(table, batch_column=batch_column, steps_column=steps_column)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
    cells = pd.concat([table for table, _ in found], ignore_index=True)
    return cells.fillna(""), {"path": ", ".join(paths), "sha256": ", ".join(digest for _, digest in found)}


def read(path: str) -> tuple[pd.DataFrame, str]:
    """Return one table as text and the hash of its file; a sweep gives its trials."""
    from sparsefit.cli.output import is_sqlite
    from sparsefit.fitting.reading import as_text, read_table

    if not is_sqlite(path):
        cells, source = read_table(path)
        return cells, source.sha256
    import hashlib

    from sparsefit.experiment.store import open_store
    from sparsefit.experiment.tables import trials_table

    with open_store(Path(path)) as store:
        table = trials_table(store)
    if table.empty:
        raise InputError(f"{path} holds no trial yet; go on with: sparsefit sweep --resume {path}")
    return as_text(table), hashlib.sha256(Path(path).read_bytes()).hexdigest()
