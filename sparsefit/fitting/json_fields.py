"""JSON files: their text, and single fields read with messages that say what was got and what is allowed."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sparsefit.errors import InputError


def as_json(content: Mapping[str, Any]) -> str:
    """Return the text of a JSON file: unrounded numbers, no NaN."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: str | Path, hint: str = "") -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : str or Path
    hint : str
        Where another kind of file is given: what makes the right one.

    Raises
    ------
    InputError
        Unreadable, not UTF-8, not JSON, or with an integer of more digits than Python reads.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: it is not UTF-8 text{hint}") from error
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}{hint}") from error
    except ValueError as error:
        limit = sys.get_int_max_str_digits()
        raise InputError(
            f"{path}: got an integer of over {limit:,} digits, allowed are finite numbers"
        ) from error


def needed(table: Mapping[str, Any], key: str, where: str) -> Any:
    """Return the value of a key that must be there."""
    if key not in table:
        raise InputError(f"{dotted(where, key)} is missing")
    return table[key]


def refuse_unknown(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse a key that nothing reads, which is most often a misspelt one."""
    known = tuple(known)
    for key in table:
        if key not in known:
            raise InputError(f"{dotted(where, key)}: unknown field; allowed {', '.join(known)}")


def dotted(where: str, key: str) -> str:
    """Return the name of a field within its parent."""
    return f"{where}.{key}" if where else key


def as_object(value: Any, where: str) -> Mapping[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: got {shown(value)}, allowed an object")
    return value


def as_list(value: Any, where: str) -> list[Any]:
    """Return a JSON array."""
    if not isinstance(value, list):
        raise InputError(f"{where}: got {shown(value)}, allowed a list")
    return value


def as_text(value: Any, where: str) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise InputError(f"{where}: got {shown(value)}, allowed a string")
    return value


def as_number(value: Any, where: str) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        raise InputError(f"{where}: got {shown(value)}, allowed a finite number")
    return float(value)


def is_finite(value: float) -> bool:
    """Say whether a number is finite; an integer may be too large for a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def as_positive(value: Any, where: str) -> float:
    """Return a finite number above 0."""
    number = as_number(value, where)
    if number <= 0:
        raise InputError(f"{where}: got {shown(value)}, allowed a number above 0")
    return number


def as_count(value: Any, where: str, least: int) -> int:
    """Return a whole number, at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{where}: got {shown(value)}, allowed a whole number, {least} or more")
    return value


def shown(value: Any) -> str:
    """Return the value as text, cut if long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
