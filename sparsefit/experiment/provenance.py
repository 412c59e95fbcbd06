"""Where numbers come from: versions, machine and data, written into the store once a session."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import sparsefit
from sparsefit.errors import InputError

if TYPE_CHECKING:
    from sparsefit.experiment.engine import Engine
    from sparsefit.experiment.runner import TrialRunner
    from sparsefit.experiment.store import Store


def collect_provenance(dataset: str, checksum: str, engine: Engine) -> dict[str, str | int]:
    """Return what a reader needs to judge whether a trial can be repeated elsewhere.

    Parameters
    ----------
    dataset, checksum : str
        Name and SHA-256 of the data as read.
    engine : Engine
        What runs the trials; each has one thread.
    """
    return {
        **machine(),
        **({"machines": "; ".join(engine.machines)} if engine.machines else {}),
        "threads_per_trial": 1,
        "clock": "processor time",
        "jobs": engine.jobs,
        "dataset": dataset,
        "dataset_sha256": checksum,
    }


def machine() -> dict[str, str | int]:
    """Return what numbers depend on beside the sweep: versions, CPU and instruction set."""
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
    }


def begin_session(store: Store, runner: TrialRunner, engine: Engine) -> None:
    """Begin to write to a sweep, with the provenance of the coming trials.

    Raises
    ------
    InputError
        The user's model is not what it was in an earlier session, or cannot be used at all.
    """
    workload = runner.definition.workload
    provenance = collect_provenance(workload.dataset, runner.dataset.checksum, engine)
    description = runner.check()
    if ":" in workload.model:  # the built-in ones do not change
        provenance["model"] = hashlib.sha256(description.encode()).hexdigest()
        before = {session["model"] for session in store.sessions().values() if "model" in session}
        if before - {provenance["model"]}:
            raise InputError(
                f"{store.path}: the model {workload.model} has other layers or initial weights than when the "
                "sweep was begun, and a file holds one model: undo the change, or begin another with --out"
            )
    store.begin_session(provenance)


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
    try:
        return _core.isa()
    except ValueError as error:  # what SPARSEFIT_FORCE_ISA names is not there
        raise InputError(str(error)) from error


def cpu_model() -> str:
    """Return the CPU's name as the system gives it, with the numbers that tell CPUs of one name apart."""
    facts = cpu_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in facts and "model" in facts:
        name += f" (family {facts['cpu family']}, model {facts['model']})"
    return name


def cpu_facts() -> dict[str, str]:
    """Return what Linux says of a CPU, by its own names ("model name", "cpu family" ..); empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


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
