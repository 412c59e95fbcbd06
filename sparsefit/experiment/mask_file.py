"""Masks in files: written by a worker of a sweep that needs them first, read by those that come later."""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsefit.errors import InputError
from sparsefit.whole_file import write_whole

FORMAT = "sparsefit.masks/1"

DAMAGE = (
    *(OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged archive may raise."""


def save(path: str | Path, masks: Mapping[str, Tensor], **metadata: Any) -> None:
    """Write masks to an npz file, a bit each, whole or not at all.

    Parameters
    ----------
    path : str or Path
    masks : mapping of str to Tensor
        Bool, by parameter name.
    **metadata
        What the masks were made by (model, seed, sparsity ..), as JSON can hold it.

    Raises
    ------
    InputError
        A mask is not bool.
    OSError
        The file cannot be written.
    """
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise InputError(f"mask of {name!r}: got {mask.dtype}, allowed torch.bool; True keeps")
    header = {
        "format": FORMAT,
        "shapes": {name: list(mask.shape) for name, mask in masks.items()},
        **metadata,
    }
    arrays: dict[str, Any] = {"/": np.array(json.dumps(header))}
    arrays |= {name: np.packbits(mask.cpu().numpy().ravel()) for name, mask in masks.items()}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(Path(path), content.getvalue())


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read masks and metadata that `save` wrote; never unpickles.

    Raises
    ------
    InputError
        The file is missing, damaged or not of this format.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            header = json.loads(str(archive["/"]))
            if header.pop("format") != FORMAT:
                raise ValueError("another format")
            found = {}
            for name, shape in header.pop("shapes").items():
                packed, count = archive[name], math.prod(shape)
                if len(packed) != -(-count // 8):
                    raise ValueError(f"{name} has bytes for another shape than {shape}")
                bits = np.unpackbits(packed, count=count)
                found[name] = torch.from_numpy(bits.astype(bool).reshape(shape))
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read as masks ({FORMAT}): {error}") from error
    return found, header
