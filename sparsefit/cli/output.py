"""Files that a command writes: refused before the work if they cannot be, then whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from sparsefit.errors import InputError

SQLITE = b"SQLite format 3\0"
"""How the file of a sweep begins."""


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
            target.open("ab").close()
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
        if target.exists() and not target.is_file():  # a pipe or a device cannot be put in place whole
            target.write_bytes(content)
            return
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def refuse_sqlite(path: Path) -> None:
    """Refuse to write over a file that begins as one of SQLite: it may be a sweep."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        if stream.read(len(SQLITE)) == SQLITE:
            raise InputError(f"{path} is a SQLite database, as sweeps are, and is kept: name another file")
