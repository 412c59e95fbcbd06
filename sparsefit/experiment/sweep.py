"""A sweep: hand trials to an engine and store what comes back, until every trial is settled."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

from sparsefit.errors import SparsefitError
from sparsefit.experiment.engine import Engine, Failure
from sparsefit.experiment.records import RepeatSpec, TrialEnd, TrialSpec
from sparsefit.experiment.schedule import Schedule, budgets
from sparsefit.experiment.store import Store
from sparsefit.experiment.study import studies

ATTEMPTS = 2
"""How often a trial is tried whose worker dies, before the sweep goes on without it."""


class TrialError(SparsefitError):
    """A trial raised an error that another attempt would raise again."""


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt no error of the program."""


class Report(Protocol):
    """Is told what happens, to show it."""

    def begin(self, schedule: Schedule) -> None:
        """Is called once, with what the store holds already."""

    def ended(self, spec: TrialSpec, run: TrialEnd, seconds: float) -> None:
        """Is called after a trial was committed, with the seconds since it was handed to the engine."""

    def failed(self, spec: TrialSpec, reason: str, last: bool) -> None:
        """Is called when a worker died; `last` says that the trial is left out for now."""


class Crashes:
    """Counts how often the worker of a trial died."""

    def __init__(self) -> None:
        self._counts: Counter[TrialSpec | RepeatSpec] = Counter()

    def add(self, spec: TrialSpec | RepeatSpec, failure: Failure) -> bool:
        """Count one more; return whether it was the last attempt.

        Raises
        ------
        TrialError
            The trial failed in a way that would repeat.
        """
        if not failure.crashed:
            raise TrialError(f"{spec}: {failure.reason}")
        trial = spec._replace(limit=0)
        self._counts[trial] += 1
        return self._counts[trial] == ATTEMPTS


def resume(store: Store) -> Schedule:
    """Return the schedule of a sweep with everything that its store holds."""
    content = store.content
    schedule = Schedule(studies(content), content["trials"], sweep_budgets(content), cap=content["cap"])
    for study, ends in store.ends().items():
        for trial, end in ends.items():
            schedule.states[study].end(trial, end)
    return schedule


def sweep_budgets(content: dict[str, Any]) -> tuple[int, ...]:
    """Return the budgets of the rounds of a sweep, given its definition as a dictionary."""
    workload = content["workload"]
    return budgets(workload["max_steps"], workload["eval_interval"], cap=content["cap"])


def run(
    store: Store, engine: Engine, function: Callable[[TrialSpec], TrialEnd], report: Report
) -> list[TrialSpec]:
    """Run every trial of a sweep that is not settled.

    Parameters
    ----------
    store : Store
        With a session begun; trials that it holds are not run again.
    engine : Engine
    function : callable
        Runs one trial, see `runner.TrialRunner`.
    report : Report

    Returns
    -------
    list of TrialSpec
        Trials left out because their worker died `ATTEMPTS` times; the next session tries them again.

    Raises
    ------
    TrialError
        A trial failed in a way that would repeat. What was stored stays.
    StoreError
        A trial could not be stored. What was stored before stays.
    """
    schedule = resume(store)
    report.begin(schedule)
    crashes = Crashes()
    started: dict[TrialSpec, float] = {}
    left_out = []

    def specs() -> Iterator[TrialSpec | None]:
        while not schedule.is_finished:
            spec = schedule.next()
            if spec is not None:
                started[spec] = time.monotonic()
            yield spec

    with contextlib.closing(engine.map(function, specs())) as results:
        for spec, result in results:
            state = schedule.states[spec.study]
            if not isinstance(result, Failure):
                store.add(spec, result)
                state.end(spec.trial, result.end)
                report.ended(spec, result, time.monotonic() - started.pop(spec))
                continue
            last = crashes.add(spec, result)
            if last:
                left_out.append(spec)
                state.give_up(spec.trial)
            else:
                state.put_back(spec.trial)
            report.failed(spec, result.reason, last)
    return left_out


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with its clean-up, by raising `Terminated`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
