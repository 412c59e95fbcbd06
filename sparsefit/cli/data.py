"""``sparsefit data``: get the data sets, once and verified."""

from __future__ import annotations

from pathlib import Path

import click

from sparsefit.errors import InputError


@click.command(name="data", short_help="Download or import data sets.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--from",
    "origin",
    type=click.Path(path_type=Path),
    help="Import files that lie in this folder instead of downloading; CIFAR-10 also from its tar.gz.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to put them. Default: SPARSEFIT_DATA, else the platform's cache folder.",
)
def command(names: tuple[str, ...], origin: Path | None, data_dir: Path | None) -> None:
    """Download or import data sets: mnist, fashion-mnist, cifar-10.

    Every file is checked against the official content before it is put in place; what is already there and
    right is not fetched again. The data set digits comes with scikit-learn and needs no download.

    \b
    Examples:
        sparsefit data mnist fashion-mnist cifar-10
        sparsefit data cifar-10 --from ~/Downloads/cifar-10-binary.tar.gz
    """
    from sparsefit.experiment.data_download import download, import_files
    from sparsefit.experiment.data_files import roots
    from sparsefit.experiment.data_sources import SOURCES

    for name in names:
        if name not in (*SOURCES, "digits"):
            raise InputError(f"unknown data set {name!r}; known: {', '.join(SOURCES)}, digits")
    root = roots(data_dir)[0]
    for name in names:
        if name == "digits":
            click.echo("digits: comes with scikit-learn, nothing to do")
        elif origin is not None:
            click.echo(f"{name}: imported into {import_files(SOURCES[name], origin, root)}")
        else:
            download(SOURCES[name], root, click.echo)
