"""``sparsefit report``: a folder with a page, every figure and every table of what was measured."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparsefit.cli.columns import column_options
from sparsefit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.experiment.store import Store
    from sparsefit.report.source import Source


@click.command(name="report", short_help="Show all that was measured on one page.")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--decomposition", "decompositions", multiple=True, help="File of decompose --save; repeatable."
)
@column_options
@click.option("-o", "--out", type=click.Path(path_type=Path), default="report", show_default=True)
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the intervals.")
def command(
    inputs: tuple[Path, ...], decompositions: tuple[str, ...], out: Path, confidence: float, **columns: Any
) -> None:
    """Write what was measured, fitted and judged in INPUTS as a page with figures and tables.

    INPUTS are files of sweeps (also while they run), or tables of trials or of steps-to-result. The folder
    gets index.html, which opens without a network, tables/ as CSV, and figures/ as PNG and SVG with the data
    behind each as CSV. A report that is there is replaced; a folder with other files is refused.
    docs/report.md says what each figure shows. --by and the other options on columns hold for all INPUTS.

    \b
    Example:
        sparsefit report w1.db w2.db -o report
        sparsefit report w1.db --decomposition w1.json
        sparsefit report trials.csv
    """
    from sparsefit.fitting.decomposition_file import load
    from sparsefit.report.document import write_report
    from sparsefit.report.folder import check_folder
    from sparsefit.report.material import combine

    if not 0 < confidence < 1:
        raise InputError(f"--confidence: got {confidence}, allowed is a number between 0 and 1, such as 0.95")
    check_folder(out)
    parts = {path: load(path) for path in decompositions}
    cpus = os.cpu_count() or 1
    material = combine([read(path, columns) for path in inputs], parts, confidence=confidence, processes=cpus)
    count = write_report(material, out, processes=cpus)
    click.echo(f"{out / 'index.html'}: {count} figures", err=True)


def read(path: Path, columns: Mapping[str, Any]) -> Source:
    """Read the file of a sweep or a table, whichever it is, with the options on its columns.

    Raises
    ------
    InputError
        No such file, or neither of the two.
    """
    from sparsefit.cli.output import is_sqlite
    from sparsefit.fitting.reading import read_table
    from sparsefit.report.source import make_source

    if path.is_dir():
        raise InputError(f"{path} is a directory; give the file of a sweep (.db) or a table (.csv) in it")
    if path.suffix == ".db" or is_sqlite(path):
        from sparsefit.experiment.store import open_store

        with open_store(path) as store:
            cells, details = read_sweep(store, path)
    else:
        cells, source = read_table(path)
        details = {"kind": "table", "sha256": source.sha256, "about": {"rows": str(source.rows)}}
    try:
        return make_source(cells, str(path), **details, **columns)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_sweep(store: Store, path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the trials of a sweep with their costs, and the curves it kept and its ancestry by name."""
    from sparsefit.experiment.store import SCHEMA_VERSION
    from sparsefit.experiment.study import fingerprint
    from sparsefit.experiment.tables import trials_table

    table = trials_table(store)
    if table.empty:
        raise InputError(f"{path} holds no trial yet; go on with: sparsefit sweep --resume {path}")
    return table, {
        "kind": "sweep",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "about": {
            "schema": f"sparsefit sweep {SCHEMA_VERSION}",
            "study hash": fingerprint(store.content),
            "trials": f"{len(table)} of {planned(store.content)}",
            **{name: str(store.content[name]) for name in ("backend", "cap", "curves")},
            **sessions(store),
        },
        "search_space": store.content["workload"]["search_space"],
        "curves": curves(store, table),
    }


def planned(content: dict[str, Any]) -> int:
    """Return how many trials the sweep has when it is finished."""
    return len(content["sparsities"]) * len(content["batch_sizes"]) * int(content["trials"])


def sessions(store: Store) -> dict[str, str]:
    """Return where the trials were run, each value once."""
    found: dict[str, dict[str, None]] = {}
    for provenance in store.sessions().values():
        for name, value in provenance.items():
            found.setdefault(name.replace("_", " "), {})[str(value)] = None
    return {name: ", ".join(values) for name, values in found.items()}


def curves(store: Store, trials: pd.DataFrame) -> pd.DataFrame | None:
    """Return the curves of the trials that reached the goal as one table, None if none were kept."""
    from sparsefit.experiment.tables import CURVE, curves_table

    key = ["sparsity", "batch_size", "trial"]
    reached = trials.loc[trials["status"] == "reached", key]
    try:
        found = curves_table(store).merge(reached, on=key)
    except InputError:
        return None
    return found[[*CURVE, *key]] if len(found) else None
