"""SQLite as the file of a sweep: how it is opened, and its errors in words."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sparsefit.errors import SparsefitError

BUSY_SECONDS = 20
"""How long a commit waits for another program to release the file."""


class StoreError(SparsefitError):
    """The file that holds a sweep cannot be read or written now; what it holds is safe."""


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a connection in autocommit mode: transactions begin where the code says so."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, with what to do about them."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            problem = f"is locked by another program (waited {BUSY_SECONDS} s); close that program and go on"
        elif code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            problem = "cannot be written: the disk is full or reports an error; free some space and go on"
        elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            problem = (
                "cannot be opened for writing; the folder must exist, and it and the file must be writable"
            )
        elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            problem = "is not a SQLite database, or is damaged; restore a copy or give another file"
        else:
            problem = "cannot be used as the file of a sweep"
        raise StoreError(f"{path} {problem} (SQLite: {error})") from error


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
