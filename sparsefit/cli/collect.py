"""``sparsefit collect``: tables and folders from the file of a sweep, or from folders of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsefit.cli import output
from sparsefit.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.experiment.store import Store


@click.command(name="collect", short_help="Write the steps-to-result of a sweep as a table.")
@click.argument("sweeps", nargs=-1, required=True, metavar="SWEEP...", type=click.Path(path_type=Path))
@click.option("-o", "--out", default="-", show_default=True, help="CSV file, .parquet file, or - for stdout.")
@click.option("--trials", is_flag=True, help="One row a trial instead of one a study.")
@click.option("--repeats", is_flag=True, help="One row a repeat of a winner, of sparsefit repeat.")
@click.option("--finished", is_flag=True, help="Only studies all of whose trials have ended.")
@click.option("--first", type=click.IntRange(min=1), help="Count only so many trials of every study.")
@click.option("--curves", is_flag=True, help="One row a goal check, of a sweep with --full-curves.")
@click.option(
    "--layout", type=click.Choice(("release", "shallue")), help="Write a new folder of that layout to --out."
)
@click.option("--goal-error", type=float, help="Folders of Shallue et al.: the error to reach.")
@click.option(
    "--max-steps", type=click.IntRange(min=1), help="Folders of the release: steps of a whole trial."
)
def command(
    sweeps: tuple[Path, ...],
    out: str,
    trials: bool,
    repeats: bool,
    finished: bool,
    first: int | None,
    curves: bool,
    layout: str | None,
    goal_error: float | None,
    max_steps: int | None,
) -> None:
    """Write the steps-to-result of a sweep as a table.

    One row for each batch size and sparsity: the fewest steps in which a trial reached the goal, how the
    trials ended, the winning trial and its metaparameters. Works while the sweep runs; the column
    'unfinished' counts the trials of a study that have not ended. Several sweeps of one workload, such as one
    for each sparsity, give one table.

    A directory is read as folders of Shallue et al. or of the paper's release, with one row a trial. --layout
    writes such folders, one row a trial becoming one folder a trial.

    \b
    Example:
        sparsefit collect w2.db -o results.csv
        sparsefit collect w2.db w2_small.db --finished -o results.csv
        sparsefit collect w2.db --trials -o trials.parquet
        sparsefit fit results.csv
        sparsefit collect w2.db --layout release -o w2_release
        sparsefit collect batch_science/mnist --goal-error 0.02 -o shallue.csv
    """
    if layout is not None and out == "-":
        raise InputError("--layout writes a folder: name it with -o")
    if sum((trials, repeats, curves, layout is not None)) > 1:
        raise InputError("give one of --trials, --repeats, --curves and --layout")
    sweep = sweeps[0]
    if len(sweeps) > 1 and (layout is not None or any(path.is_dir() for path in sweeps)):
        raise InputError("--layout and folders take one input; several files of sweeps give one table")
    if sweep.is_dir():
        from sparsefit.fitting.layouts import Goal, read_folder

        if curves or repeats or finished or first:
            raise InputError("--curves, --repeats, --finished and --first take sweeps; this is a folder")
        table = read_folder(sweep, Goal(error=goal_error, max_steps=max_steps))
        if layout is None:
            write(table, out, "trials")
        else:
            write_folders(table, out, layout, None)
        return
    if goal_error is not None or max_steps is not None:
        raise InputError(
            "--goal-error and --max-steps say what folders of others do not; "
            f"{sweep} is a file, and a sweep has both in its definition"
        )
    from sparsefit.experiment.joined import join, only_finished
    from sparsefit.experiment.repeats import repeats_table
    from sparsefit.experiment.store import open_store
    from sparsefit.experiment.tables import curves_table, steps_table, trials_table

    if layout is not None:
        with open_store(sweep) as store:
            if first is not None:
                store.cut(first)
            table = trials_table(store)
            if finished:
                table = only_finished(table, store)
            if not table.empty:
                write_folders(table, out, layout, store)
                tell_few(sweeps, first)
                tell_open(sweeps, first, finished)
                return
    kinds = {"trials": (trials, trials_table), "repeats": (repeats, repeats_table)}
    kinds |= {"checks": (curves, curves_table), "studies": (True, steps_table)}
    kind, make = next((kind, make) for kind, (asked, make) in kinds.items() if asked)
    table = join(sweeps, make, finished=finished, first=first)
    names = " ".join(map(str, sweeps))
    if table.empty and repeats:
        raise InputError(f"{names}: no winner was repeated yet; do it with: sparsefit repeat {sweep}")
    if table.empty and finished:
        raise InputError(f"{names}: no study is finished yet; go on with: sparsefit sweep --resume {sweep}")
    if table.empty:
        raise InputError(f"{names} holds no trial yet; go on with: sparsefit sweep --resume {sweep}")
    write(table, out, kind)
    tell_few(sweeps, first)
    if kind in ("studies", "trials"):
        tell_open(sweeps, first, finished)


def tell_few(sweeps: tuple[Path, ...], first: int | None) -> None:
    """Say on the error stream which sweeps have fewer trials a study than were asked for."""
    from sparsefit.experiment.store import open_store

    for path in sweeps if first is not None else ():
        with open_store(path) as store:
            trials = store.content["trials"]
        if first is not None and trials < first:
            click.echo(
                f"{path} has {trials} trials in each study, not the {first} of --first; for more: "
                f"sparsefit sweep --resume {path} --trials {first}",
                err=True,
            )


def tell_open(sweeps: tuple[Path, ...], first: int | None, finished: bool) -> None:
    """Say on the error stream how many trials have not ended, unless their studies are left out."""
    from sparsefit.experiment.joined import count_open

    unfinished = 0 if finished else count_open(sweeps, first)
    if unfinished:
        go_on = f"sparsefit sweep --resume {sweeps[0]}"
        click.echo(f"{unfinished:,} trials have not ended; go on with: {go_on}", err=True)


def write(table: pd.DataFrame, out: str, rows: str) -> None:
    """Write a table as CSV or Parquet and say on the error stream how many rows it has."""
    if out.lower().endswith(".parquet"):
        try:
            content = table.to_parquet(index=False)
        except ImportError as error:
            raise MissingDependencyError("writing Parquet", "sparsefit[parquet]") from error
    else:
        content = table.to_csv(index=False).encode()
    output.write(out, content)
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
