"""The folder of a report: written whole, replaced only if sparsefit wrote it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from sparsefit import __version__
from sparsefit.errors import InputError

MANIFEST = "report.json"
"""Names the files of a report; a folder with it is one that sparsefit may replace."""

SCHEMA = "sparsefit.report/1"


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written, or that holds files of something else.

    Raises
    ------
    InputError
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out: {folder} is a file; give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()):
        written_files(folder)
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise InputError(f"--out: the folder {parent} does not exist; make it first")
    for place in [parent, *([folder] if folder.is_dir() else [])]:
        try:
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            raise InputError(f"--out: {place} cannot be written: {error.strerror}") from error


def written_files(folder: Path) -> list[Path]:
    """Return the files of the report that a folder holds.

    Raises
    ------
    InputError
        The folder holds something else.
    """
    foreign = InputError(
        f"--out: {folder} holds files that are no sparsefit report; give another folder, or an empty one"
    )
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = content["files"] if content["schema"] == SCHEMA else None
    except (OSError, ValueError, KeyError, TypeError):
        raise foreign from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise foreign
    root = folder.resolve()
    found = [(folder / name).resolve() for name in names]
    if any(root not in path.parents for path in found):
        raise foreign
    return found


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by relative name, with the manifest, in the place of an older report.

    Everything is written beside the folder before anything in it changes. Then a manifest of old and new
    files comes first and that of the new ones last, so that a later run accepts what an interrupted one left.
    Files that others put there stay.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    check_folder(folder)
    root = folder.resolve()
    new = {(root / name).resolve() for name in (*files, MANIFEST)}
    old = set(written_files(folder)) - new if (folder / MANIFEST).exists() else set()
    either = [*files, *(str(path.relative_to(root)) for path in old)]
    try:
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}.") as part:
            Path(part, "either").write_bytes(manifest(either))
            for name, data in {**files, MANIFEST: manifest(files)}.items():
                path = Path(part, "new", name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            folder.mkdir(exist_ok=True)
            os.replace(Path(part, "either"), folder / MANIFEST)
            for name in files:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(part, "new", name), target)
            for path in old:
                path.unlink(missing_ok=True)
            os.replace(Path(part, "new", MANIFEST), folder / MANIFEST)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error


def manifest(names: Iterable[str]) -> bytes:
    """Return the manifest of a report of these files and itself."""
    content = {"schema": SCHEMA, "version": __version__, "files": sorted([*names, MANIFEST])}
    return (json.dumps(content, indent=1) + "\n").encode()
