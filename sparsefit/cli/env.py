"""``sparsefit env``: what a bug report needs."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import click

from sparsefit import __version__
from sparsefit.errors import InputError

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "lmfit",
    "statsmodels",
    "matplotlib",
    "click",
    "jinja2",
    "rich",
    "torch",
    "scikit-learn",
    "pyarrow",
    "platformdirs",
    "pooch",
    "ray",
)


@click.command(name="env", short_help="Print versions, CPU and compiled core.")
def command() -> None:
    """Print versions, CPU and compiled core, to paste into a bug report.

    \b
    Example:
        sparsefit env
    """
    click.echo(f"sparsefit     {__version__}")
    click.echo(f"python        {platform.python_version()} ({platform.python_implementation()})")
    click.echo(f"platform      {platform.platform()}, {os.cpu_count()} CPUs")
    for package in PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        click.echo(f"{package:<13} {version}")
    click.echo(f"core          {describe_core()}")
    click.echo(f"cuda          {describe_cuda()}")


def describe_core() -> str:
    """Say whether the compiled core is there, and which instruction sets it can use."""
    try:
        from sparsefit import _core
    except ImportError as error:
        return f"not available: {error}"
    try:
        isa = _core.isa()
    except ValueError as error:
        raise InputError(str(error)) from error
    return f"instruction set {isa}; usable here: {', '.join(_core.isas())}"


def describe_cuda() -> str:
    """Say what the core has for GPUs, and which ones it finds."""
    try:
        from sparsefit import _core
    except ImportError:
        return "not available: no core"
    missing = _core.cuda_unavailable()
    if not _core.cuda_architectures():
        return f"not available: {missing}"
    return f"kernels for {', '.join(_core.cuda_architectures())}; " + (
        f"not usable here: {missing}" if missing else f"devices: {'; '.join(_core.cuda_devices())}"
    )
