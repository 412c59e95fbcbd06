"""A Ray cluster that runs already: how to join it, and what its machines are."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import Any

import sparsefit
from sparsefit.errors import InputError, MissingDependencyError, SparsefitError
from sparsefit.experiment.provenance import machine

PATIENCE = 60.0
"""Seconds that a machine has to say what it is."""

START = "`ray start --head` starts one"


class ClusterError(SparsefitError):
    """The cluster is there, but its machines cannot run trials."""


def connect(address: str | None) -> Any:
    """Join a cluster without Ray's own messages, and return the module ``ray``.

    Raises
    ------
    MissingDependencyError
        Ray is not installed.
    InputError
        There is no such cluster.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingDependencyError("--engine ray", "sparsefit[ray]") from error
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    check_listening(address)
    # Ray's debugger sets it, too; else Ray prints a page of advice for every worker that dies.
    ray._private.worker._worker_logs_enabled = False
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except ConnectionError as error:
        where = "on this machine" if address == "auto" else f"at {address}"
        raise InputError(f"no Ray cluster runs {where}; {START}, or give --address HOST:PORT") from error
    except (RuntimeError, ValueError) as error:  # another version of Ray or Python, say
        raise InputError(f"the Ray cluster cannot be used: {' '.join(str(error).split())}") from error
    return ray


def check_listening(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would try for many minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise InputError(f"the address of a Ray cluster: got {address!r}, allowed HOST:PORT of its head")
    try:
        with contextlib.closing(socket.create_connection((host.strip("[]"), int(port)), timeout=10)):
            return
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"no Ray cluster answers at {address} ({reason}); {START}") from error


def describe(ray: Any) -> list[str]:
    """Ask every machine of a cluster what it is.

    Raises
    ------
    ClusterError
        One does not answer, or has another sparsefit or none.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    ask = ray.remote(num_cpus=0, max_retries=0)(machine)
    answers = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in nodes
    ]
    described = []
    for node, answer in zip(nodes, answers, strict=True):
        name = node["NodeManagerHostname"]
        try:
            found = ray.get(answer, timeout=PATIENCE)
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the machine {name} cannot run trials ({last_line(error)}): "
                "the Python of its `ray start` needs sparsefit[train,ray]"
            ) from error
        if found["sparsefit"] != sparsefit.__version__:
            raise ClusterError(
                f"the machine {name} has sparsefit {found['sparsefit']}, this one {sparsefit.__version__}: "
                "install the same on all"
            )
        described.append(
            f"{name}: {node['Resources']['CPU']:g} of {found['cpus']} CPUs, {found['cpu']}, {found['core']}, "
            f"torch {found['torch']}, commit {found['commit'] or 'unknown'}"
        )
    return described


def last_line(error: Exception) -> str:
    """Return the end of an error of Ray, which says most."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
