"""Small data sets in the official formats, with checksums of their own: readers are tested without data."""

import hashlib

import numpy as np

from sparsefit.experiment.data_sources import SOURCES, File, Source


def idx(array):
    """Encode an array as an IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def contents(name, seed=0):
    """Make the files of a small data set: name to bytes."""
    random = np.random.default_rng(seed)
    if SOURCES[name].archive:
        files = {}
        for file in SOURCES[name].files:
            records = random.integers(0, 256, (20, 3073), dtype=np.uint8)
            records[:, 0] = np.arange(20) % 10
            files[file.name] = records.tobytes()
        return files
    files = {}
    for prefix, n in (("train", 60), ("t10k", 20)):
        files[f"{prefix}-images-idx3-ubyte"] = idx(random.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        files[f"{prefix}-labels-idx1-ubyte"] = idx((np.arange(n) % 10).astype(np.uint8))
    return files


def source(name, files):
    """Make the source whose official files are the given ones."""
    official = SOURCES[name]
    listed = tuple(File(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in files.items())
    return Source(name, official.folders, listed, official.mirrors, official.archive)


def put(folder, files):
    """Write the files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
