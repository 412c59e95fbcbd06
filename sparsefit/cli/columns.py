"""The options that say what the columns of a table mean, for the commands that read one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def split_names(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
    """Return names that commas separate as a list."""
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


OPTIONS = (
    click.option(
        "--by",
        callback=split_names,
        help="Columns that split the rows into groups, like model,sparsity; '' makes one curve of all.",
    ),
    click.option("--batch-column", help="Column of batch sizes, where its name does not tell."),
    click.option("--steps-column", help="Column of steps-to-result, where its name does not tell."),
    click.option("--eval-interval", type=float, help="Steps between evaluations, for all rows."),
    click.option(
        "--max-steps",
        type=click.IntRange(min=1),
        help="Steps at which trials that missed the goal stopped, where no column says.",
    ),
)


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``by``, ``batch_column``, ``steps_column``, ``eval_interval`` and ``max_steps`` to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
