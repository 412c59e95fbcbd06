"""Files that a command writes: refused before the work if they cannot be, then whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from sparsefit.errors import InputError
from sparsefit.whole_file import write_whole


def check_outputs(outputs: Mapping[str, str | None], inputs: Iterable[str | Path] = ()) -> None:
    """Refuse outputs, option to name or ``-`` for standard output, that cannot be written or are taken.

    Two options of one file would leave one of them, and an output in the place of an input would be the end
    of what was measured.
    """
    taken = {os.path.realpath(path): f"the input {path}" for path in inputs if str(path) != "-"}
    for option, path in outputs.items():
        if path is None:
            continue
        place = path if path == "-" else os.path.realpath(path)
        if place in taken:
            what = "standard output" if path == "-" else path
            raise InputError(f"{option}: {what} is {taken[place]} already; name another file")
        taken[place] = f"the output of {option}"
        if path != "-":
            check_writable(option, Path(path))


def check_writable(option: str, target: Path) -> None:
    """Refuse an output that cannot be written before any work is spent on it; nothing is left behind."""
    folder = target.absolute().parent
    if target.is_dir():
        raise InputError(f"{option}: {target} is a directory; give a file name")
    if not folder.is_dir():
        raise InputError(f"{option}: the folder {folder} does not exist; make it first")
    refuse_sqlite(target)
    try:
        if target.exists() and not target.is_file():
            if not os.access(target, os.W_OK):  # opening a pipe and closing it would end its reader
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            tempfile.NamedTemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{option}: {target} cannot be written: {error.strerror}") from error


def write(path: str, content: bytes) -> None:
    """Write a file whole or not at all; ``-`` is standard output."""
    if path == "-":
        click.echo(content, nl=False)
        return
    target = Path(path)
    try:
        refuse_sqlite(target)
        write_whole(target, content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def refuse_sqlite(path: Path) -> None:
    """Refuse to write over a file that may be a sweep."""
    if path.is_file() and is_sqlite(path):
        raise InputError(f"{path} is a SQLite database, as sweeps are, and is kept: name another file")


def is_sqlite(path: str | Path) -> bool:
    """Tell whether a file begins as one of SQLite, as sweeps do; False where it cannot be read."""
    from sparsefit.fitting.reading import SQLITE

    try:
        with open(path, "rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except (OSError, ValueError):
        return False
