"""The ``sparsefit`` command: one module a command, listed in the order of the work."""

from __future__ import annotations

import importlib
import io
import sys

import click

from sparsefit import __version__
from sparsefit.errors import MissingDependencyError, SparsefitError

COMMANDS = ("data", "sweep", "repeat", "collect", "fit", "decompose", "validate", "plan", "report", "env")
"""Command names in the order of the work; ``sparsefit.cli.<name>`` holds ``command``."""


TRAINING = {"torch", "sklearn", "pooch", "platformdirs"}
"""Packages of the extra ``train``, which the fitting half does without."""


class OrderedGroup(click.Group):
    """Lists commands in the order of the work and imports a command's module only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import ``sparsefit.cli.<name>`` and return its ``command``."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"sparsefit.cli.{name}").command
        return command


@click.group(cls=OrderedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sparsefit")
def group() -> None:
    """How many steps will training take at batch size B, and what does sparsity cost?

    Steps-to-result follows K* = c1/B + c2. Start with a table of measured steps:

        sparsefit fit results.csv
    """


def main() -> None:
    """Run the command; an expected error becomes one message and exit code 1, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # Δ and × where a terminal or a file has no such letter
    try:
        run()
    except SparsefitError as error:
        click.echo(f"sparsefit: error: {error}", err=True)
        sys.exit(1)
    except OSError as error:  # files are checked by the commands; what is left is a full or closed terminal
        click.echo(f"sparsefit: error: {error.filename or 'the output'}: {error.strerror or error}", err=True)
        sys.exit(1)


def run() -> None:
    """Run the command; a missing package of the extra ``train`` becomes the error that names it."""
    try:
        group(prog_name="sparsefit")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAINING:
            raise
        raise MissingDependencyError(f"this command (it imports {package})", "sparsefit[train]") from error
