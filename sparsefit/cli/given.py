"""The options that a user wrote, as opposed to those that have their defaults."""

from __future__ import annotations

from collections.abc import Iterable

import click


def given(names: Iterable[str]) -> str:
    """Return those of the named parameters that stand on the command line: ``"--sparsity, --out"``."""
    context = click.get_current_context()
    return ", ".join(
        f"--{name.replace('_', '-')}"
        for name in names
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    )
