"""``sparsefit collect``: tables from the file of a sweep."""

from __future__ import annotations

from pathlib import Path

import click

from sparsefit.errors import InputError, MissingDependencyError


@click.command(name="collect")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option("-o", "--out", default="-", show_default=True, help="CSV file, .parquet file, or - for stdout.")
@click.option("--trials", is_flag=True, help="One row a trial instead of one a study.")
def command(sweep: Path, out: str, trials: bool) -> None:
    """Write the steps-to-result of a sweep as a table.

    One row for each batch size and sparsity: the fewest steps in which a trial reached the goal, how the
    trials ended, the winning trial and its metaparameters. Works while the sweep runs.

    \b
    Example:
        sparsefit collect w2.db -o results.csv
        sparsefit collect w2.db --trials -o trials.parquet
        sparsefit fit results.csv
    """
    from sparsefit.experiment.store import open_store
    from sparsefit.experiment.tables import steps_table, trials_table

    with open_store(sweep) as store:
        table = trials_table(store) if trials else steps_table(store)
    if table.empty:
        raise InputError(f"{sweep} holds no trial yet; go on with: sparsefit sweep --resume {sweep}")
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
        click.echo(f"{out}: {len(table)} {'trials' if trials else 'studies'}", err=True)
    unfinished = 0 if trials else int(table["unfinished"].sum())
    if unfinished:
        click.echo(
            f"{unfinished} trials have not ended; go on with: sparsefit sweep --resume {sweep}", err=True
        )
