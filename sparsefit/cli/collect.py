"""``sparsefit collect``: tables and folders from the file of a sweep, or from folders of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsefit.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.experiment.store import Store

LAYOUTS = ("release", "shallue")


@click.command(name="collect")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option("-o", "--out", default="-", show_default=True, help="CSV file, .parquet file, or - for stdout.")
@click.option("--trials", is_flag=True, help="One row a trial instead of one a study.")
@click.option("--curves", is_flag=True, help="One row a goal check, of a sweep with --full-curves.")
@click.option("--layout", type=click.Choice(LAYOUTS), help="Write a new folder of that layout to --out.")
@click.option("--goal-error", type=float, help="Folders of Shallue et al.: the error to reach.")
@click.option(
    "--max-steps", type=click.IntRange(min=1), help="Folders of the release: steps of a whole trial."
)
def command(
    sweep: Path,
    out: str,
    trials: bool,
    curves: bool,
    layout: str | None,
    goal_error: float | None,
    max_steps: int | None,
) -> None:
    """Write the steps-to-result of a sweep as a table.

    One row for each batch size and sparsity: the fewest steps in which a trial reached the goal, how the
    trials ended, the winning trial and its metaparameters. Works while the sweep runs.

    A directory is read as folders of Shallue et al. or of the paper's release, with one row a trial. --layout
    writes such folders, one row a trial becoming one folder a trial.

    \b
    Example:
        sparsefit collect w2.db -o results.csv
        sparsefit collect w2.db --trials -o trials.parquet
        sparsefit fit results.csv
        sparsefit collect w2.db --layout release -o w2_release
        sparsefit collect batch_science/mnist --goal-error 0.02 -o shallue.csv
    """
    if layout is not None and out == "-":
        raise InputError("--layout writes a folder: name it with -o")
    if sum((trials, curves, layout is not None)) > 1:
        raise InputError("give one of --trials, --curves and --layout")
    if sweep.is_dir():
        from sparsefit.fitting.layouts import Goal, read_folder

        if curves:
            raise InputError("--curves takes the file of a sweep; folders hold their curves as CSV already")
        table = read_folder(sweep, Goal(error=goal_error, max_steps=max_steps))
        if layout is None:
            write(table, out, "trials")
        else:
            write_folders(table, out, layout, None)
        return
    from sparsefit.experiment.store import open_store
    from sparsefit.experiment.tables import curves_table, steps_table, trials_table

    with open_store(sweep) as store:
        if curves:
            write(curves_table(store), out, "checks")
            return
        table = trials_table(store) if trials or layout else steps_table(store)
        if layout is not None and not table.empty:
            write_folders(table, out, layout, store)
            return
    if table.empty:
        raise InputError(f"{sweep} holds no trial yet; go on with: sparsefit sweep --resume {sweep}")
    write(table, out, "trials" if trials else "studies")
    unfinished = 0 if trials else int(table["unfinished"].sum())
    if unfinished:
        click.echo(
            f"{unfinished} trials have not ended; go on with: sparsefit sweep --resume {sweep}", err=True
        )


def write(table: pd.DataFrame, out: str, rows: str) -> None:
    """Write a table as CSV or Parquet and say on the error stream how many rows it has."""
    try:
        if out.endswith(".parquet"):
            table.to_parquet(out, index=False)
        elif out == "-":
            click.echo(table.to_csv(index=False), nl=False)
        else:
            table.to_csv(out, index=False)
    except ImportError as error:
        raise MissingDependencyError("writing Parquet", "sparsefit[parquet]") from error
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from error
    if out != "-":
        click.echo(f"{out}: {len(table)} {rows}", err=True)


def write_folders(table: pd.DataFrame, out: str, layout: str, store: Store | None) -> None:
    """Write a trials table as a tree of folders, with search space and curves where a sweep has them."""
    from sparsefit.fitting.layouts import write_folder

    if store is None:
        n = write_folder(table, out, layout)
    else:
        from sparsefit.experiment.tables import shallue_curves

        space = store.content["workload"]["search_space"]
        n = write_folder(table, out, layout, search_space=space, curves=shallue_curves(store))
    click.echo(f"{out}: {n} studies, {len(table)} trials", err=True)
