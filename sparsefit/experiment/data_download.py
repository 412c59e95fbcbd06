"""Getting data sets: import files that lie elsewhere, or download them; only verified files are written."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from sparsefit.errors import InputError, MissingDependencyError
from sparsefit.experiment.data_files import (
    folders,
    locations,
    read_content,
    read_members,
    read_verified,
    remedy,
    verify,
)
from sparsefit.experiment.data_sources import File, Source
from sparsefit.whole_file import write_whole

Report = Callable[[str], None]
TIMEOUT = 60.0
"""Seconds without an answer after which a mirror is given up."""


def missing(source: Source, root: Path) -> list[File]:
    """Return the files that are not yet, or not rightly, in our folder below `root`."""
    out = []
    for file in source.files:
        path = root / source.folders[0] / file.name
        try:
            verify(read_content(path, file), file, source, path)
        except InputError:
            out.append(file)
    return out


def import_files(source: Source, origin: Path, root: Path) -> Path:
    """Copy a data set from a folder, or from CIFAR-10's tar archive itself, to our folder below `root`.

    Parameters
    ----------
    source : Source
    origin : Path
        The folder that holds the files (plain, ``.gz``, or the archive), the folder above it, or the archive.
    root : Path
        The data folder to write to.

    Returns
    -------
    Path
        The folder that now holds the verified, uncompressed files.

    Raises
    ------
    InputError
        A file is missing or is not the official one; nothing is written before all were verified.
    """
    contents = read_origin(source, origin)
    target = root / source.folders[0]
    for name, content in contents.items():
        write(target / name, content)
    return target


def read_origin(source: Source, origin: Path) -> dict[str, bytes]:
    """Return the verified content of the files that lie at `origin`."""
    if not origin.exists():
        raise InputError(f"--from {origin}: there is no such file or folder")
    if origin.is_file():
        if not source.archive:
            raise InputError(f"--from {origin}: {source.name} is four files: give the folder that holds them")
        contents = read_members(origin, source.files)
        for file in source.files:
            verify(contents[file.name], file, source, origin)
        return contents
    for folder in [*folders(origin, source), origin]:
        if any(locations(folder, source)):
            return read_verified(folder, source)
    names = ", ".join(file.name for file in source.files)
    raise InputError(f"--from {origin}: none of {source.name}'s files is there ({names}, plain or .gz)")


def download(source: Source, root: Path, report: Report) -> Path:
    """Download what is not there yet; each file is verified and moved into place at once, so a rerun goes on.

    Raises
    ------
    InputError
        No mirror gave the right files, or the disk is full.
    MissingDependencyError
        pooch is not installed.
    """
    target = root / source.folders[0]
    wanted = missing(source, root)
    if not wanted:
        report(f"{source.name}: complete in {target}")
        return target
    make_folder(target)
    with tempfile.TemporaryDirectory(dir=target, prefix=".download-") as folder:
        if source.archive:
            fetch(source, source.archive, wanted, Path(folder), target, report)
        else:
            for file in wanted:
                fetch(source, f"{file.name}.gz", [file], Path(folder), target, report)
    report(f"{source.name}: ready in {target}")
    return target


def fetch(source: Source, name: str, wanted: list[File], folder: Path, target: Path, report: Report) -> None:
    """Try the mirrors in turn until one gives the right content of every file wanted from the download."""
    failures = []
    for mirror in source.mirrors:
        url = mirror + name
        report(f"{source.name}: {url}")
        try:
            path = retrieve(url, folder / name)
            if source.archive:
                contents = read_members(path, wanted)
            else:
                contents = {file.name: read_content(path, file) for file in wanted}
            for file in wanted:
                verify(contents[file.name], file, source, path)
                write(target / file.name, contents[file.name])
            return
        except (OSError, ValueError) as error:  # no network, no such page; InputError is a ValueError
            failures.append(f"  {url}: {str(error).partition(chr(10))[0] or type(error).__name__}")
            (folder / name).unlink(missing_ok=True)
    raise InputError("\n".join([f"{source.name} could not be downloaded:", *failures, remedy(source)]))


def retrieve(url: str, path: Path) -> Path:
    """Download one file with pooch; its content is verified by the caller, uncompressed."""
    try:
        import pooch
    except ImportError as error:
        raise MissingDependencyError("downloading data sets", "sparsefit[train]") from error
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT)
    pooch.retrieve(url, known_hash=None, fname=path.name, path=path.parent, downloader=downloader)
    return path


def make_folder(folder: Path) -> None:
    """Make the folder, or say why it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made: {error}; choose another folder with --data-dir"
        ) from error


def write(path: Path, content: bytes) -> None:
    """Write a file whole, in a folder that is made if need be, or say why it cannot be."""
    make_folder(path.parent)
    try:
        write_whole(path, content)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error}; choose another folder with --data-dir"
        ) from error
