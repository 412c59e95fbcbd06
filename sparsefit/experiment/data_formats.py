"""Decoding IDX files and CIFAR-10's binary records from bytes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sparsefit.errors import InputError

UNSIGNED_BYTE = 0x08
CIFAR_SHAPE = (3, 32, 32)


def idx_array(content: bytes, name: str, ndim: int) -> NDArray[np.uint8]:
    """Decode an IDX file of unsigned bytes: two zeros, type, number of axes, big-endian lengths, data.

    Raises
    ------
    InputError
        Another magic number, or a length that does not match the header.
    """
    header = 4 + 4 * ndim
    if len(content) < header or content[:4] != bytes([0, 0, UNSIGNED_BYTE, ndim]):
        raise InputError(
            f"{name} does not start like an IDX file of unsigned bytes with {ndim} axes: "
            f"got {content[:4].hex(' ') or 'nothing'}, expected 00 00 08 {ndim:02x}"
        )
    shape = [int(length) for length in np.frombuffer(content, ">u4", count=ndim, offset=4)]
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise InputError(f"{name} has {len(content)} bytes, but its header {shape} announces {expected}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def cifar_records(content: bytes, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode CIFAR-10 records: a label byte, then 3 × 32 × 32 bytes, channels first.

    Raises
    ------
    InputError
        The length is not a whole number of records, or a label is above 9.
    """
    record = 1 + math.prod(CIFAR_SHAPE)
    if not content or len(content) % record:
        raise InputError(f"{name} has {len(content)} bytes, which is not a multiple of CIFAR-10's {record}")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels = records[:, 0]
    if labels.max() > 9:
        raise InputError(
            f"{name} has the label {labels.max()}; CIFAR-10 has 0 to 9 (CIFAR-100 is another format)"
        )
    return records[:, 1:].reshape(-1, *CIFAR_SHAPE), labels
