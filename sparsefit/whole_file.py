"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(target: Path, content: bytes) -> None:
    """Write beside the file and put it in its place, so that no interruption or power cut leaves half of it.

    Raises
    ------
    OSError
        Full disk, missing folder, no permission; the old file is as it was.
    """
    if target.exists() and not target.is_file():  # a pipe or a device cannot be put in place whole
        target.write_bytes(content)
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
