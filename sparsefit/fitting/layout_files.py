"""What both folder layouts share: JSON files, and the note that keeps what they have no place for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsefit.errors import InputError

Row = dict[str, Any]
"""One trial: a row of the trials table."""

NOTE = "_internal_sparsefit"
"""Key of the note; Shallue's loader passes over keys that begin so."""

METAPARAMETERS = ("learning_rate", "momentum", "decay_steps", "end_learning_rate_factor")
"""Metaparameters of the built-in workloads, in the release's order of axes."""


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, or say what is wrong with the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, expected an object with keys")
    return content


def need(content: Mapping[str, Any], key: str, path: Path) -> Any:
    """Return the value of a key, or say which file lacks it."""
    if key not in content:
        raise InputError(f"{path} has no key {key!r}; it has {', '.join(content) or 'none'}")
    return content[key]


def need_number(content: Mapping[str, Any], key: str, path: Path) -> Any:
    """Return the number that a key holds, or say which file lacks it."""
    value = need(content, key, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{path}: {key} is {value!r}, expected a number")
    return value


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
