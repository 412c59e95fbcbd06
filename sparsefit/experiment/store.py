"""The store: one SQLite file a sweep, with its definition and a row a trial, committed when the trial ends.

One process writes (held by a lock on the file), any number read. A trial that `Store.add` returned from
survives whatever happens to the process later; the journal that SQLite keeps beside the file during a commit
undoes half a commit at the next opening.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from sparsefit.errors import InputError
from sparsefit.experiment.records import STATUSES, End, Study, TrialEnd, TrialSpec
from sparsefit.experiment.store_file import StoreError, connect, explained, now
from sparsefit.experiment.study import Definition, difference, fingerprint, fingerprint_of_text, studies

APPLICATION_ID = 0x53504654
"""Marks our files in SQLite's header: "SPFT"."""

SCHEMA_VERSION = 1

SCHEMA = f"""
CREATE TABLE definition (json TEXT NOT NULL, sha256 TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE settings (trial INTEGER PRIMARY KEY, metaparameters TEXT NOT NULL);
CREATE TABLE sessions (id INTEGER PRIMARY KEY, started TEXT NOT NULL, provenance TEXT NOT NULL);
CREATE TABLE trials (
    sparsity REAL NOT NULL,
    batch_size INTEGER NOT NULL,
    trial INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN {STATUSES}),
    step INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    seconds REAL NOT NULL,
    check_seconds REAL NOT NULL,
    checks INTEGER NOT NULL,
    evaluated INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    total_seconds REAL NOT NULL,
    ended TEXT NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions (id),
    curve BLOB,
    PRIMARY KEY (sparsity, batch_size, trial)
);
"""


@dataclass(frozen=True)
class TrialRow:
    """One trial as the store holds it.

    Attributes
    ----------
    study : Study
    trial : int
    run : TrialEnd
        Its longest run so far; `schedule.settle` says what of it counts.
    runs, total_seconds
        Runs of this trial in all rounds, and what they took.
    ended : str
        UTC, ISO 8601.
    session : int
    """

    study: Study
    trial: int
    run: TrialEnd
    runs: int
    total_seconds: float
    ended: str
    session: int


class Store:
    """An open sweep file; use `create` or `open_store`, and close it (it is a context manager).

    Attributes
    ----------
    path : Path
    content : dict
        The definition of the sweep, see `study.Definition.to_dict`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock: Any = None
        self._session: int | None = None
        self._shown = sys.maxsize
        self.content = self._read_definition()

    @classmethod
    def create(cls, path: str | Path, definition: Definition) -> Self:
        """Make a new file for a sweep.

        Raises
        ------
        InputError
            The file exists; the message says whether it holds the same sweep.
        StoreError
            The file cannot be written.
        """
        path = Path(path)
        if path.exists() and path.stat().st_size:
            with open_store(path) as other:
                differences = difference(definition.to_dict(), other.content)
            if differences:
                raise InputError(
                    f"{path} holds another sweep ({differences}); one file holds one sweep: "
                    f"give another --out, or go on with that one: sparsefit sweep --resume {path}"
                )
            raise InputError(f"{path} holds this sweep already; go on with: sparsefit sweep --resume {path}")
        with explained(path):
            connection = connect(path, "rwc")
            connection.executescript(
                f"BEGIN EXCLUSIVE; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {SCHEMA_VERSION}; {SCHEMA}"
            )
            content = definition.to_dict()
            connection.execute(
                "INSERT INTO definition VALUES (?, ?, ?)", (json.dumps(content), fingerprint(content), now())
            )
            insert_settings(connection, definition)
            connection.execute("COMMIT")
        return cls(path, connection)

    def _read_definition(self) -> dict[str, Any]:
        with explained(self.path):
            rows = self._connection.execute("SELECT json, sha256 FROM definition").fetchall()
        text, checksum = rows[0] if len(rows) == 1 else ("", None)
        if fingerprint_of_text(text) != checksum:
            raise StoreError(
                f"{self.path}: the definition of the sweep does not match its checksum; restore a copy"
            )
        content: dict[str, Any] = json.loads(text)
        return content

    @property
    def created(self) -> str:
        """When the sweep was begun, UTC, ISO 8601."""
        return str(self.execute("SELECT created FROM definition")[0][0])

    @property
    def definition(self) -> Definition:
        """The definition of the sweep, checked (this needs torch; `content` does not)."""
        return Definition.from_dict(self.content)

    def extend(self, trials: int) -> None:
        """Give every study more trials; those it has stay as they are."""
        if trials < self.content["trials"]:
            raise InputError(
                f"{self.path} has {self.content['trials']} trials a study; {trials} would drop some"
            )
        content = {**self.content, "trials": trials}
        with explained(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "UPDATE definition SET json = ?, sha256 = ?", (json.dumps(content), fingerprint(content))
            )
            insert_settings(self._connection, Definition.from_dict(content))
        self.content = content

    def cut(self, trials: int) -> None:
        """Show the sweep as if it had only the first `trials` in each study; the file stays as it is."""
        self._shown = min(trials, self.content["trials"])
        self.content = {**self.content, "trials": self._shown}

    def settings(self) -> dict[int, dict[str, float]]:
        """Return the metaparameters of every trial."""
        with explained(self.path):
            rows = self._connection.execute("SELECT trial, metaparameters FROM settings").fetchall()
        found = {trial: self._parsed(text) for trial, text in rows}
        if missing := set(range(self.content["trials"])) - set(found):
            raise self._damage(f"trial {min(missing)} has no metaparameters")
        return found

    def _parsed(self, text: str) -> dict[str, Any]:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise self._damage(f"text that is not JSON ({error})") from error
        if not isinstance(content, dict):
            raise self._damage(f"{text[:40]!r} in the place of an object")
        return content

    def _damage(self, what: str) -> StoreError:
        return StoreError(f"{self.path} is damaged: it holds {what}; restore a copy")

    def begin_session(self, provenance: Mapping[str, Any]) -> None:
        """Become the one writer and note where the coming trials are run.

        Raises
        ------
        StoreError
            Another process writes to the file.
        """
        try:
            self._lock = self.path.open("r+b")  # some network file systems lock files open for writing only
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"{self.path} is in use by another sparsefit sweep; wait for it or stop it first"
            ) from error
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be locked for writing ({error.strerror}); it must be writable, on a "
                "disk that knows locks"
            ) from error
        with explained(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            cursor = self._connection.execute(
                "INSERT INTO sessions (started, provenance) VALUES (?, ?)",
                (now(), json.dumps(dict(provenance))),
            )
        self._session = cursor.lastrowid

    @property
    def session(self) -> int | None:
        """Number of the session that writes, None without one."""
        return self._session

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, committed when this returns, and return its rows."""
        with explained(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE" if self._session is not None else "BEGIN")
            return self._connection.execute(statement, values).fetchall()

    def sessions(self) -> dict[int, dict[str, Any]]:
        """Return the provenance of every session by its number."""
        with explained(self.path):
            rows = self._connection.execute("SELECT id, provenance FROM sessions").fetchall()
        return {number: self._parsed(text) for number, text in rows}

    def add(self, spec: TrialSpec, run: TrialEnd) -> None:
        """Commit a trial that ended; it replaces an earlier, shorter run of the same trial."""
        key = (spec.study.sparsity, spec.study.batch_size, spec.trial)
        curve = None if run.curve is None else np.asarray(run.curve, dtype="<f8").tobytes()
        with explained(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            earlier = self._connection.execute(
                "SELECT runs, total_seconds FROM trials WHERE (sparsity, batch_size, trial) = (?, ?, ?)", key
            ).fetchone()
            runs, seconds = earlier or (0, 0.0)
            self._connection.execute(
                "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *key,
                    *run.end,
                    run.samples,
                    run.seconds,
                    run.check_seconds,
                    run.checks,
                    run.evaluated,
                    run.floor,
                    runs + 1,
                    seconds + run.seconds,
                    now(),
                    self._session,
                    curve,
                ),
            )

    def ends(self) -> dict[Study, dict[int, End]]:
        """Return how every stored trial ended, by study and trial."""
        with explained(self.path):
            rows = self._connection.execute(
                "SELECT sparsity, batch_size, trial, status, step FROM trials WHERE trial < ?",
                (self._shown,),
            ).fetchall()
        found: dict[Study, dict[int, End]] = {study: {} for study in studies(self.content)}
        for sparsity, batch_size, trial, status, step in rows:
            study = Study(sparsity, batch_size)
            if study not in found:
                raise self._damage(f"a trial of a study that is not in the grid, {study}")
            found[study][trial] = End(status, step)
        return found

    def rows(self) -> list[TrialRow]:
        """Return all stored trials, ordered by sparsity, batch size and trial."""
        with explained(self.path):
            rows = self._connection.execute(
                "SELECT sparsity, batch_size, trial, status, step, samples, seconds, check_seconds, checks, "
                "evaluated, floor, curve, runs, total_seconds, ended, session FROM trials "
                "WHERE trial < ? ORDER BY sparsity, batch_size, trial",
                (self._shown,),
            ).fetchall()
        found = []
        for row in rows:
            sparsity, batch_size, trial, status, step, *cost, curve = row[:12]
            run = TrialEnd(End(status, step), *cost)
            if curve is not None:
                run = replace(run, curve=np.frombuffer(curve, dtype="<f8").reshape(-1, 4))
            found.append(TrialRow(Study(sparsity, batch_size), trial, run, *row[12:]))
        return found

    def close(self) -> None:
        """Close the file; the lock goes last, as closing any handle of the file drops SQLite's own locks."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()


def open_store(path: str | Path) -> Store:
    """Open the file of an existing sweep.

    Raises
    ------
    InputError
        No such file; not a sparsefit sweep; written by a newer sparsefit.
    StoreError
        Locked, damaged or unreadable.
    """
    path = Path(path)
    if not path.is_file():
        problem = "is a directory, not the file of a sweep" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {problem}; sparsefit sweep --out FILE makes one")
    with explained(path):
        connection = connect(path, "rw")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if application != APPLICATION_ID:
            connection.close()
            if not tables:
                raise InputError(f"{path} is empty: no sweep was started in it; delete it and start again")
            raise InputError(f"{path} is a SQLite database of another program, not a sparsefit sweep")
        if version > SCHEMA_VERSION:
            connection.close()
            raise InputError(
                f"{path} has schema {version}, this sparsefit reads up to {SCHEMA_VERSION}; update sparsefit"
            )
        problems = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problems != "ok":
            connection.close()
            raise StoreError(
                f"{path} is damaged ({problems}); restore a copy, or save what is left with sqlite3 .recover"
            )
    return Store(path, connection)


def insert_settings(connection: sqlite3.Connection, definition: Definition) -> None:
    """Write the metaparameters of the trials that have none yet."""
    connection.executemany(
        "INSERT OR IGNORE INTO settings VALUES (?, ?)",
        [(trial, json.dumps(setting)) for trial, setting in enumerate(definition.settings())],
    )
