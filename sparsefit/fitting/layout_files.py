"""What both folder layouts share: JSON files, and the note that keeps what they have no place for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sparsefit.errors import InputError
from sparsefit.fitting.json_fields import as_count, as_number, as_object, as_text, needed, shown

Row = dict[str, Any]
"""One trial: a row of the trials table."""

NOTE = "_internal_sparsefit"
"""Key of the note; Shallue's loader passes over keys that begin so."""

METAPARAMETERS = ("learning_rate", "momentum", "decay_steps", "end_learning_rate_factor")
"""Metaparameters of the built-in workloads, in the release's order of axes."""

LARGEST = 2**63 - 1
"""Whole number of a column of a table."""


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Put the name of a file before what is wrong with its fields."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def as_whole(value: Any, where: str, least: int = 1) -> int:
    """Return a whole number that a table can hold, also where it is written as 256.0."""
    count = as_count(int(value) if isinstance(value, float) and value.is_integer() else value, where, least)
    if count > LARGEST:
        raise InputError(f"{where}: got {shown(value)}, allowed a whole number up to {LARGEST}")
    return count


NOTED: dict[str, Callable[[Any, str], Any]] = {
    "workload": as_text,
    "schedule": as_text,
    "comparison": as_text,
    "goal_error": as_number,
    "sparsity": as_number,
    "max_steps": as_whole,
    "eval_interval": as_whole,
}
"""How the fields of the note that a reader of folders uses are read."""


def read_note(content: Mapping[str, Any]) -> Row:
    """Return the note of a trial, empty in a foreign file; the fields that are used are as they must be."""
    own = dict(as_object(content.get(NOTE, {}), NOTE))
    for name, read in NOTED.items():
        if own.get(name) is not None:
            own[name] = read(own[name], f"{NOTE}.{name}")
    return own


def read_parameters(content: Mapping[str, Any]) -> Row:
    """Return the metaparameters of a trial; those that are numbers are finite."""
    found = as_object(needed(content, "parameters", ""), "parameters")
    for name, value in found.items():
        if isinstance(value, float):
            as_number(value, f"parameters.{name}")
    return dict(found)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def parameters(row: Row) -> dict[str, Any]:
    """Return the metaparameters that a trial has."""
    return {name: row[name] for name in METAPARAMETERS if row.get(name) is not None}


def note(row: Row) -> dict[str, Any]:
    """Return what a trial's note keeps: everything but its metaparameters."""
    return {name: value for name, value in row.items() if name not in METAPARAMETERS}


def with_parameters(row: Row, values: Mapping[str, Any]) -> Row:
    """Add metaparameters to a row; one that bears the name of another column gets a prefix."""
    return row | {(f"parameter_{name}" if name in row else name): value for name, value in values.items()}
