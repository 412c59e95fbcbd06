"""``sparsefit fit``: what a table of steps-to-result says about K* = c1/B + c2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsefit.cli.columns import column_options
from sparsefit.cli.output import check_outputs, write
from sparsefit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FIGURES = (".png", ".pdf", ".svg")


@click.command(name="fit", short_help="Fit K* = c1/B + c2 to a table of steps.")
@click.argument("table")
@column_options
@click.option("--goal-error", type=float, help="Folders of Shallue et al.: the error to reach.")
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the intervals.")
@click.option("--json", "json_path", help="Write all numbers as JSON; - for stdout.")
@click.option("--csv", "csv_path", help="Write one row a group as CSV; - for stdout.")
@click.option("--plot", "plot_path", help="Write a figure: .png, .pdf or .svg.")
def command(
    table: str,
    by: list[str] | None,
    batch_column: str | None,
    steps_column: str | None,
    eval_interval: float | None,
    goal_error: float | None,
    max_steps: int | None,
    confidence: float,
    json_path: str | None,
    csv_path: str | None,
    plot_path: str | None,
) -> None:
    """Fit steps-to-result K* = c1/B + c2 to TABLE and say what the data determine.

    TABLE is a CSV (also gzip) or Parquet file with a batch size and a steps column, or - for standard input:
    a row a study, or with a column 'trial' a row a trial; or a folder of Shallue et al. or of the paper's
    release. Known columns and text split the rows into curves; --by '' makes one curve of all.
    docs/file-formats.md says how it is read.

    \b
    Example:
        sparsefit fit examples/cbs_pretraining.csv
        sparsefit fit examples/cbs_pretraining.csv --json fit.json --plot fit.png
        cat examples/cbs_pretraining.csv | sparsefit fit - --csv -
    """
    if plot_path is not None and Path(plot_path).suffix.lower() not in FIGURES:
        raise InputError(f"--plot: got {plot_path!r}, allowed is a name that ends in {', '.join(FIGURES)}")
    check_outputs({"--json": json_path, "--csv": csv_path, "--plot": plot_path}, [table])

    from sparsefit.fitting.fit_table import fit
    from sparsefit.fitting.json_fields import as_json

    source: str | pd.DataFrame = table
    folder = Path(table).is_dir()
    if folder:
        from sparsefit.fitting.layouts import Goal, read_folder

        source = read_folder(table, Goal(error=goal_error, max_steps=max_steps))
    elif goal_error is not None:
        raise InputError(
            f"--goal-error is for folders, whose tables name no goal; {table} is none: leave it out"
        )
    result = fit(
        source,
        by=by,
        batch_column=batch_column,
        steps_column=steps_column,
        eval_interval=eval_interval,
        max_steps=max_steps,
        confidence=confidence,
    )
    if folder:
        result = replace(result, input={**result.input, "path": table})
    if json_path is not None:
        write(json_path, as_json(result.to_dict()).encode())
    if csv_path is not None:
        from sparsefit.report.fit_csv import as_csv

        write(csv_path, as_csv(result).encode())
    if plot_path is not None:
        from sparsefit.report.figures.fit import draw

        write(plot_path, draw(result, Path(plot_path).suffix.lower()[1:]))
    if "-" not in (json_path, csv_path):
        from rich.console import Console

        from sparsefit.report.fit_table import render
        from sparsefit.report.terminal import show

        show(Console(), render(result))
