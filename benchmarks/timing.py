"""Fair timing on a noisy machine: candidates take turns, and their fastest rounds are compared.

Whatever slows the machine for a while slows all candidates alike. ``spread`` tells how far the median round
was above the fastest one: ratios that differ by less than it are equal. An untimed call opens every sample
of a short candidate: the one before has filled the caches with its own operands, and in training a layer
finds its own there.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefit.experiment.provenance import commit, cpu_model

WARM_SECONDS = 0.2
"""A candidate that takes longer fills the caches itself, many times over."""


@dataclass(frozen=True)
class Timing:
    """Seconds for one call."""

    fastest: float
    median: float

    @property
    def spread(self) -> float:
        """How far the median round is above the fastest, as a share of it."""
        return self.median / self.fastest - 1


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 9,
    sample_seconds: float = 1e-2,
    budget_seconds: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time candidates in turns.

    Parameters
    ----------
    candidates : mapping of str to callable
        What to time, without arguments.
    rounds : int
        Samples of each candidate. At least 3 are taken even when the budget is spent.
    sample_seconds : float
        A candidate that takes less is called several times for one sample: caches take some calls to settle.
    budget_seconds : float
        No new round starts after this time.
    clock : callable
        Seconds. ``time.thread_time`` leaves out what other processes took, for candidates of one thread.
    """
    calls: dict[str, int] = {}
    warm: dict[str, bool] = {}
    for name, candidate in candidates.items():
        candidate()  # warm-up: memory, threads, primitive caches
        seconds = _seconds(candidate, 1, clock)
        calls[name] = max(1, round(sample_seconds / max(seconds, 1e-7)))
        warm[name] = seconds < WARM_SECONDS
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= 3 and time.perf_counter() - start > budget_seconds:
            break
        for name, candidate in candidates.items():
            if warm[name]:
                candidate()
            samples[name].append(_seconds(candidate, calls[name], clock))
    return {name: Timing(min(taken), statistics.median(taken)) for name, taken in samples.items()}


def _seconds(candidate: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        candidate()
    return (clock() - start) / calls


def provenance() -> dict[str, Any]:
    """Return what a table of timings must say of itself: command, machine, commit, versions."""
    return {
        "command": " ".join(["python", *(word if word[0] != "/" else Path(word).name for word in sys.argv)]),
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "python": platform.python_version(),
        "commit": commit(),
    }


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a mapping, its "rows" one a line."""
    rest = {name: value for name, value in content.items() if name != "rows"}
    head = json.dumps({**rest, "rows": []}, indent=1).removesuffix("[]\n}")
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in content["rows"])
    Path(path).write_text(f"{head}[\n{rows}\n]\n}}\n")
