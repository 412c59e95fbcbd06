"""Data sets: standardised images, the seeded split, and the order of examples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sparsefit.errors import InputError, MissingDependencyError
from sparsefit.experiment.data_files import SOURCES, Examples, read_source

DIGITS_TRAINING = 1500
"""The first 1,500 of scikit-learn's 1,797 digits are the training set; the set itself has no such split."""

DATASETS = (*SOURCES, "digits")
"""Names that `load` knows."""


@dataclass(frozen=True)
class DataSet:
    """Standardised training images with their labels; the validation set is a part of them, see `split`.

    Attributes
    ----------
    name : str
    train_images : Tensor
        float32, ``(N, C, H, W)``: pixels over their largest value, minus `mean`, over `std`.
    train_labels : Tensor
        int64, ``(N,)``, from 0 to ``n_classes - 1``.
    n_classes : int
    mean, std : tuple of float
        Of the scaled pixels of the whole training set, before the split: one value, or one a channel if there
        are several.
    checksum : str
        SHA-256 of the data set as read, for the record of provenance.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    n_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of one image."""
        _, channels, height, width = self.train_images.shape
        return channels, height, width


def load(name: str, data_dir: str | Path | None = None) -> DataSet:
    """Read a data set and standardise it as the release does.

    Parameters
    ----------
    name : str
        ``mnist``, ``fashion-mnist``, ``cifar-10`` or ``digits``; the last needs no files.
    data_dir : path, optional
        Where to look first; then ``SPARSEFIT_DATA``, the platform's cache folder, Debian's folder.

    Raises
    ------
    InputError
        Unknown name; files missing, truncated, swapped or foreign: the message says which and what to do.
    MissingDependencyError
        ``digits`` without scikit-learn.
    """
    if name == "digits":
        return load_digits()
    if name not in SOURCES:
        raise InputError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    raw = read_source(SOURCES[name], data_dir)
    return standardise(name, raw.train, largest=255, checksum=raw.checksum)


def load_digits() -> DataSet:
    """Return scikit-learn's 8×8 digits: real handwriting that needs no download."""
    try:
        from sklearn.datasets import load_digits as read_digits
    except ImportError as error:
        raise MissingDependencyError("the data set 'digits'", "sparsefit[train]") from error
    bunch = read_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.uint8)
    n = DIGITS_TRAINING
    checksum = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return standardise("digits", (images[:n], labels[:n]), largest=16, checksum=checksum)


def standardise(name: str, train: Examples, *, largest: int, checksum: str) -> DataSet:
    """Scale uint8 images by `largest`, then to mean 0 and standard deviation 1 over all of them."""
    images, labels = train
    mean, std = pixel_moments(images, largest)
    scaled = images.astype(np.float32)
    scaled /= np.float32(largest)
    scaled -= mean.astype(np.float32)[:, None, None]
    scaled /= std.astype(np.float32)[:, None, None]
    return DataSet(
        name=name,
        train_images=torch.from_numpy(scaled),
        train_labels=torch.from_numpy(labels.astype(np.int64)),
        n_classes=int(labels.max()) + 1,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        checksum=checksum,
    )


def pixel_moments(images: NDArray[np.uint8], largest: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation a channel, exactly, from the counts of the 256 pixel values."""
    counts = np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])])
    values = np.arange(256) / largest
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    return mean, np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))


class ExampleOrder:
    """The order in which one trial sees its examples, as in the release.

    One ``RandomState`` serves, in this order, the split, the order for pruning, then one shuffle an epoch. So
    the split, the pruning order and first epoch are the same for all trials, batch sizes and sparsities. (The
    release also shuffles the validation set for its logging; sparsefit does not, so from the second epoch on
    its orders are its own.)

    Parameters
    ----------
    n_examples : int
        Size of the whole training set.
    seed : int
        0 in the release, for every trial.
    epochs : int, optional
        Seed of the order within epochs alone, the split staying as it is; None goes on as the release does.

    Attributes
    ----------
    validation : ndarray of int64
        The first 10 % of the shuffled indices.
    train : ndarray of int64
        The others.
    pruning : ndarray of int64
        The training indices in the order in which pruning sees them.
    """

    def __init__(self, n_examples: int, seed: int = 0, *, epochs: int | None = None) -> None:
        self._random = np.random.RandomState(seed)
        indices = np.arange(n_examples, dtype=np.int64)
        self._random.shuffle(indices)
        n_validation = int(n_examples * 0.1)
        self.validation = indices[:n_validation]
        self.train = indices[n_validation:]
        self.pruning = self._shuffled()
        if epochs is not None:
            self._random = np.random.RandomState(epochs)

    def _shuffled(self) -> NDArray[np.int64]:
        order = np.arange(len(self.train))
        self._random.shuffle(order)
        return self.train[order]

    def batches(self, batch_size: int) -> Iterator[NDArray[np.int64]]:
        """Yield the indices of one batch after another, for ever; batches cross epoch borders.

        Call it once: a second iterator would go on with the shuffles of the first.
        """
        rest = self._shuffled()
        while True:
            while len(rest) < batch_size:
                rest = np.concatenate([rest, self._shuffled()])
            yield rest[:batch_size]
            rest = rest[batch_size:]


def split(dataset: DataSet, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the training and the validation indices into the training images (90 % and 10 %)."""
    order = ExampleOrder(len(dataset.train_labels), seed)
    return order.train, order.validation
