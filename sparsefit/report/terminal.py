"""What the pages of all commands share: printing, tables, names of groups, numbers with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from sparsefit.fitting.columns import normalise
from sparsefit.fitting.results_records import Estimate
from sparsefit.quantity import Quantity

WIDEST = 1000
"""Columns that a table may take."""


def show(console: Console, output: Group) -> None:
    """Print tables whole, whatever the width of the terminal, and fold sentences."""
    folded = console.width
    console.height = console.height  # a width alone does not count on a dumb terminal
    for part in output.renderables:
        console.width = WIDEST if isinstance(part, Table) else folded
        console.print(part, highlight=False)
    console.width = folded


def new_table(title: str, columns: Iterable[str]) -> Table:
    """Return an empty table with labels on the left."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(title, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="left", no_wrap=True)
    return table


def grouped(keys: tuple[str, ...], columns: Iterable[str], first: str = "") -> Table:
    """Return an empty table with the names of the groups on the left."""
    names = keys or ("",)
    table = new_table(first + names[0], names[1:])
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def named(group: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    """Return the cells that name a group."""
    return [plain(group[name]) for name in keys] or ["all rows"]


def varying(groups: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names whose values differ between groups; where there is one group, its sparsity."""
    names = tuple(groups[0])
    if len(groups) == 1:
        return tuple(name for name in names if normalise(name) == "sparsity") or names[-1:]
    return tuple(name for name in names if any(group[name] != groups[0][name] for group in groups))


def lead(group: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Return what a sentence on one group begins with."""
    return ", ".join(f"{name} {plain(group[name])}" for name in keys) + ": " if keys else ""


def plain(value: Any) -> str:
    """Return a value of a group as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def cell(number: Quantity | Estimate | None) -> str:
    """Return ``value [low, high]`` to three digits; a one-sided limit as such."""
    if number is None:
        return ""
    if number.value is None:
        limits = [f"> {digits(number.low)}"] if number.low is not None else []
        limits += [f"< {digits(number.high)}"] if number.high is not None else []
        return " and ".join(limits) or "not determined"
    if number.low is None and number.high is None:
        return digits(number.value)
    low = "0" if number.low is None else digits(number.low)
    high = "∞" if number.high is None else digits(number.high)
    return f"{digits(number.value)} [{low}, {high}]"


def digits(value: float) -> str:
    """Return three significant digits, without an exponent where that reads well."""
    if 999.5 <= abs(value) < 999_999.5:
        return f"{value:,.0f}"
    if 0.001 <= abs(value) < 1000:
        return f"{value:#.3g}".rstrip(".")
    return f"{value:.2e}" if value else "0"
