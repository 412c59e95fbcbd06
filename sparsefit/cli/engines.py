"""The options that say where trials run, for the commands that run some."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sparsefit.errors import InputError

if TYPE_CHECKING:
    from sparsefit.experiment.engine import Engine

Command = TypeVar("Command", bound=Callable[..., Any])


def engine_options(command: Command) -> Command:
    """Add ``--engine``, ``--address`` and ``--jobs`` to a command."""
    options = (
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="This machine, or those of a Ray cluster.",
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="Head of the Ray cluster.  [default: this machine's cluster]",
        ),
        click.option(
            "--jobs", type=click.IntRange(min=1), help="Trainings at a time.  [default: number of CPUs]"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextlib.contextmanager
def open_engine(engine: str, address: str | None, jobs: int | None) -> Iterator[Engine]:
    """Yield the engine that was asked for, and close it afterwards."""
    from sparsefit.experiment.engine import LocalProcesses

    if engine == "local":
        if address is not None:
            raise InputError("--address is where a Ray cluster is: give --engine ray too, or leave it out")
        yield LocalProcesses(jobs or os.cpu_count() or 1)
        return
    from sparsefit.experiment.engine_ray import RayCluster

    with contextlib.closing(RayCluster(jobs, address)) as cluster:
        yield cluster
