"""Which files make a data set, where they may lie, and how they are read: checksums first, never a pickle."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsefit.errors import InputError, MissingDependencyError
from sparsefit.experiment.data_formats import cifar_records, idx_array
from sparsefit.experiment.data_sources import SOURCES, File, Source

DEBIAN = Path("/usr/share/datasets")
"""Where Debian's dataset-fashion-mnist puts its folder."""


Examples = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images ``(N, C, H, W)`` and labels ``(N,)``."""


@dataclass(frozen=True)
class RawData:
    """The training set, and a checksum of all files; those of the test set are verified and not read."""

    train: Examples
    checksum: str


def read_source(source: Source, data_dir: str | Path | None = None) -> RawData:
    """Find, verify and decode the files of a data set.

    Raises
    ------
    InputError
        A file is missing, or is not the official one: it is named, with what was expected and found.
    """
    contents = read_verified(find_folder(source, data_dir), source)
    decode = decode_cifar if source.archive else decode_idx
    digest = hashlib.sha256("".join(file.sha256 for file in source.files).encode()).hexdigest()
    return RawData(decode(contents), digest)


def decode_idx(contents: dict[str, bytes]) -> Examples:
    """Decode the training set of MNIST or Fashion-MNIST."""
    images, labels = (
        idx_array(contents[name], name, dimensions)
        for name, dimensions in (("train-images-idx3-ubyte", 3), ("train-labels-idx1-ubyte", 1))
    )
    return images[:, None], labels


def decode_cifar(contents: dict[str, bytes]) -> Examples:
    """Decode the training batches of CIFAR-10; the last file is the test set."""
    *train, _ = contents.items()
    images, labels = zip(*(cifar_records(content, name) for name, content in train), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def roots(data_dir: str | Path | None) -> list[Path]:
    """Return the folders to look in, in order; only those that were named or exist by convention."""
    named = [Path(data_dir)] if data_dir is not None else []
    if variable := os.environ.get("SPARSEFIT_DATA"):
        named.append(Path(variable))
    return [*named, cache_folder(), DEBIAN]


def cache_folder() -> Path:
    """Return the platform's cache folder for data sets."""
    try:
        import platformdirs
    except ImportError as error:
        raise MissingDependencyError("finding data sets", "sparsefit[train]") from error
    return Path(platformdirs.user_cache_dir("sparsefit")) / "data"


def find_folder(source: Source, data_dir: str | Path | None) -> Path:
    """Return the first folder that holds any file of the data set."""
    tried = roots(data_dir)
    for root in tried:
        for folder in folders(root, source):
            if any(locations(folder, source)):
                return folder
    places = ", ".join(str(root) for root in tried)
    raise InputError(f"{source.name} was not found in {places}. {remedy(source)}")


def folders(root: Path, source: Source) -> list[Path]:
    """Return where the data set may lie below `root`, or `root` itself if it bears the data set's name."""
    below = [root / name for name in source.folders]
    own = [root] if root.name in source.folders else []
    archive = [root] if source.archive and (root / source.archive).is_file() else []
    return [*below, *own, *archive]


def locations(folder: Path, source: Source) -> Iterator[Path]:
    """Yield every file of the data set that is in the folder, plain, gzipped or as the archive."""
    names = [name for file in source.files for name in (file.name, f"{file.name}.gz")]
    for name in [*names, *([source.archive] if source.archive else [])]:
        if (folder / name).is_file():
            yield folder / name


def read_verified(folder: Path, source: Source) -> dict[str, bytes]:
    """Return the content of every file by its name: plain, else gzipped, else from the archive.

    Raises
    ------
    InputError
        A file is missing or is not the official one.
    """
    found: dict[str, tuple[Path, bytes]] = {}
    for file in source.files:
        for path in (folder / file.name, folder / f"{file.name}.gz"):
            if file.name not in found and path.is_file():
                found[file.name] = path, read_content(path, file)
    archive = folder / source.archive
    if archive.is_file():
        others = [file for file in source.files if file.name not in found]
        found |= {name: (archive, content) for name, content in read_members(archive, others).items()}
    for file in source.files:
        if file.name not in found:
            raise InputError(f"{source.name}: {folder / file.name} is missing. {remedy(source)}")
        path, content = found[file.name]
        verify(content, file, source, path)
    return {file.name: found[file.name][1] for file in source.files}


def read_content(path: Path, file: File) -> bytes:
    """Read a plain or gzipped file, at most one byte more than it should have."""
    try:
        with path.open("rb") as stream:
            return limited(stream, file, compressed=stream.read(2) == b"\x1f\x8b")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}); delete it and get it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def limited(stream: io.BufferedReader, file: File, *, compressed: bool) -> bytes:
    """Read from the start; the limit keeps a wrong file from filling the memory."""
    stream.seek(0)
    return (gzip.GzipFile(fileobj=stream) if compressed else stream).read(file.size + 1)


def read_members(archive: Path, files: Sequence[File]) -> dict[str, bytes]:
    """Read files out of a tar archive into memory; nothing is unpacked, so no path can lead astray."""
    wanted = {file.name: file for file in files}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                file = wanted.get(Path(member.name).name)
                stream = tar.extractfile(member) if file and member.isfile() else None
                if file and stream:
                    found[file.name] = stream.read(file.size + 1)
                if len(found) == len(wanted):
                    break
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{archive} cannot be read as a tar archive: {error}; get it again") from error
    if absent := [name for name in wanted if name not in found]:
        raise InputError(f"{archive} does not contain {absent[0]}; is it the *binary* version of CIFAR-10?")
    return found


def verify(content: bytes, file: File, source: Source, path: Path) -> None:
    """Refuse a content that is not the official file, and say what it is if that is known."""
    found = hashlib.sha256(content).hexdigest()
    if found == file.sha256:
        return
    known = {f.sha256: f"{s.name}'s {f.name}" for s in SOURCES.values() for f in s.files}
    if found in known:
        reason = f"it is {known[found]}: the files were swapped"
    elif len(content) < file.size:
        reason = f"it is truncated: {len(content)} of {file.size} bytes (uncompressed)"
    elif len(content) > file.size:
        reason = f"it is longer than {file.size} bytes (uncompressed)"
    else:
        reason = "it has the right length but another content"
    raise InputError(
        f"{path} is not {source.name}'s {file.name}: {reason}.\n"
        f"  sha256 expected {file.sha256}\n  sha256 found    {found}\n"
        f"Replace it: {remedy(source)}"
    )


def remedy(source: Source) -> str:
    """Say how to get a data set, with and without a network."""
    names = ", ".join(file.name for file in source.files)
    archive = f" or {source.archive}" if source.archive else " (or the same with .gz)"
    return (
        f"Run 'sparsefit data {source.name}' to download it. Without a network: get {names}{archive} "
        f"from {source.mirrors[0]} elsewhere and run 'sparsefit data {source.name} --from FOLDER', "
        f"or put them into FOLDER/{source.folders[0]} and set SPARSEFIT_DATA=FOLDER"
    )
