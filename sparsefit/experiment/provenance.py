"""Where numbers come from: versions, machine and data, written into the store once a session."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import sparsefit


def collect_provenance(dataset: str, checksum: str, jobs: int) -> dict[str, str | int]:
    """Return what a reader needs to judge whether a trial can be repeated elsewhere.

    Parameters
    ----------
    dataset, checksum : str
        Name and SHA-256 of the data as read.
    jobs : int
        Trials run at a time; each has one thread.
    """
    return {
        "sparsefit": sparsefit.__version__,
        "commit": commit(),
        "core": core_isa(),
        "torch": installed("torch"),
        "numpy": installed("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count() or 0,
        "threads_per_trial": 1,
        "clock": "processor time",
        "jobs": jobs,
        "dataset": dataset,
        "dataset_sha256": checksum,
    }


def installed(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def core_isa() -> str:
    """Return the instruction set that the compiled core uses."""
    try:
        from sparsefit import _core
    except ImportError:
        return "not available"
    return _core.isa()


def cpu_model() -> str:
    """Return the CPU's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """Return the git commit of the running source tree, with ``+`` if it was changed; empty if unknown."""
    folder = Path(sparsefit.__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
