"""Winners again: the setting that won a study, run with fresh seeds, kept in the file of its sweep.

K* is the lowest of many trials, and the trial that gave it was lucky too. The same setting with other
initial weights (hence another mask) and another order of examples says how lucky; the split stays.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd

from sparsefit.experiment.engine import Engine, Failure
from sparsefit.experiment.records import End, RepeatSpec, Study, TrialEnd
from sparsefit.experiment.store import Store, now
from sparsefit.experiment.sweep import Crashes
from sparsefit.experiment.tables import identity, steps_table

FIRST_SEED = 1_000_000
"""Above the number of any trial: those are the seeds of the sweep itself."""

PATIENCE = 4
"""A repeat is stopped, and then known to need more, at this many times the steps of the trial that won."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS repeats (
    sparsity REAL NOT NULL,
    batch_size INTEGER NOT NULL,
    trial INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    status TEXT NOT NULL,
    step INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    seconds REAL NOT NULL,
    check_seconds REAL NOT NULL,
    checks INTEGER NOT NULL,
    evaluated INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    ended TEXT NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions (id),
    PRIMARY KEY (sparsity, batch_size, trial, seed)
)
"""


class Winner(NamedTuple):
    """The trial of a finished study with the fewest steps, and these."""

    study: Study
    trial: int
    steps: int


def winners(store: Store) -> list[Winner]:
    """Return the winners of the studies all of whose trials ended and one of which reached the goal."""
    table = steps_table(store)
    if table.empty:
        return []
    table = table[(table["unfinished"] == 0) & table["winner"].notna()]
    columns = [table[name] for name in ("sparsity", "batch_size", "winner", "steps")]
    return [
        Winner(Study(float(sparsity), int(size)), int(trial), int(steps))
        for sparsity, size, trial, steps in zip(*columns, strict=True)
    ]


def missing(store: Store, seeds: int) -> list[RepeatSpec]:
    """Return what is to be run so that every winner has `seeds` repeats, all those of a cheap study first."""
    maximum = store.content["workload"]["max_steps"]
    done = set(known(store))
    ordered = sorted(winners(store), key=lambda winner: winner.steps * winner.study.batch_size)
    specs = [
        RepeatSpec(winner.study, winner.trial, min(PATIENCE * winner.steps, maximum), FIRST_SEED + number)
        for winner in ordered
        for number in range(seeds)
    ]
    return [spec for spec in specs if (spec.study, spec.trial, spec.seed) not in done]


def run(
    store: Store,
    engine: Engine,
    function: Callable[[RepeatSpec], TrialEnd],
    specs: list[RepeatSpec],
    ended: Callable[[RepeatSpec, TrialEnd], None],
    failed: Callable[[RepeatSpec, str, bool], None],
) -> list[RepeatSpec]:
    """Run repeats, each committed to the store when it ends.

    Parameters
    ----------
    store : Store
        With a session begun.
    engine : Engine
    function : callable
        Runs one repeat, see `runner.TrialRunner`.
    specs : list of RepeatSpec
        What `missing` returned.
    ended : callable
        Is called after a repeat was committed.
    failed : callable
        Is called when a worker died, with the reason and whether the repeat is left out.

    Returns
    -------
    list of RepeatSpec
        Those left out because their worker died `sweep.ATTEMPTS` times.

    Raises
    ------
    TrialError
        A repeat failed in a way that would repeat itself. What was stored stays.
    StoreError
        A repeat could not be stored. What was stored before stays.
    """
    store.execute(SCHEMA)
    crashes = Crashes()
    waiting = deque(specs)
    running = 0
    left_out: list[RepeatSpec] = []

    def queue() -> Iterator[RepeatSpec | None]:
        nonlocal running
        while waiting or running:
            if not waiting:
                yield None
                continue
            running += 1
            yield waiting.popleft()

    with contextlib.closing(engine.map(function, queue())) as results:
        for spec, result in results:
            running -= 1
            if isinstance(result, Failure):
                last = crashes.add(spec, result)
                (left_out if last else waiting).append(spec)
                failed(spec, result.reason, last)
                continue
            cost = (result.samples, result.seconds, result.check_seconds, result.checks, result.evaluated)
            store.execute(
                "INSERT OR REPLACE INTO repeats VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *spec.study,
                    spec.trial,
                    spec.seed,
                    *result.end,
                    *cost,
                    result.floor,
                    now(),
                    store.session,
                ),
            )
            ended(spec, result)
    return left_out


def known(store: Store) -> dict[tuple[Study, int, int], TrialEnd]:
    """Return the repeats that a store holds, by study, trial and seed."""
    if not store.execute("SELECT name FROM sqlite_schema WHERE name = 'repeats'"):
        return {}
    rows = store.execute(
        "SELECT sparsity, batch_size, trial, seed, status, step, samples, seconds, check_seconds, checks, "
        "evaluated, floor FROM repeats ORDER BY sparsity, batch_size, trial, seed"
    )
    return {
        (Study(sparsity, size), trial, seed): TrialEnd(End(status, step), *cost)
        for sparsity, size, trial, seed, status, step, *cost in rows
    }


def repeats_table(store: Store) -> pd.DataFrame:
    """Return one row a repeat of a winner: ``replicate`` tells them apart, ``winner`` is the trial repeated.

    ``steps`` is empty unless the repeat reached the goal; one that did not is known to need more than
    ``max_steps``. Repeats of a trial that has been beaten since are left out.
    """
    content = store.content
    workload = content["workload"]
    settings = store.settings()
    found = known(store)
    rows = [
        {
            **identity(content),
            "sparsity": study.sparsity,
            "batch_size": study.batch_size,
            "replicate": seed - FIRST_SEED,
            "status": run.end.status,
            "steps": run.end.step if run.end.status == "reached" else None,
            "max_steps": run.end.step if run.end.status == "capped" else workload["max_steps"],
            "eval_interval": workload["eval_interval"],
            "winner": trial,
            "winner_steps": winner.steps,
            **settings[trial],
            "init_seed": seed,
            "order_seed": seed,
            "samples": run.samples,
            "seconds": run.seconds,
            "checks": run.checks,
            "evaluated": run.evaluated,
        }
        for winner in winners(store)
        for (study, trial, seed), run in found.items()
        if (study, trial) == (winner.study, winner.trial)
    ]
    names = [*identity(content), "sparsity", "batch_size", "replicate", "status", "steps", "max_steps"]
    table = pd.DataFrame(rows, columns=None if rows else names)
    table["steps"] = table["steps"].astype("Int64")
    return table
