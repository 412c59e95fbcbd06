"""Tables of a sweep: one row a trial, or one row a study with its steps-to-result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from sparsefit.errors import InputError
from sparsefit.experiment.records import STATUSES, End, Study
from sparsefit.experiment.schedule import count_settled, limits, settle
from sparsefit.experiment.store import Store, TrialRow
from sparsefit.experiment.sweep import sweep_budgets

IDENTITY = ("dataset", "model", "optimizer", "schedule", "goal_error", "comparison")
"""Fields of the workload that every row repeats, after its name."""

CURVE = ("step", "training_loss", "validation_error", "validation_loss")
"""What `records.TrialEnd.curve` holds; the loss is that of the last batch."""

SHALLUE = ("step", "train/cross_entropy_error", "val/classification_error", "val/cross_entropy_error")
"""The same in Shallue's ``measurements.csv``."""

ORDER_SEED = 0
"""Seed of the split and of the order of examples, see `data.ExampleOrder`."""


def trials_table(store: Store) -> pd.DataFrame:
    """Return one row a trial.

    ``steps`` is empty unless the trial reached the goal; one that did not is known to need more than
    ``max_steps``, which for a capped trial is the step at which it was stopped. What a trial did past the
    step up to which it counts (see `schedule`) is not shown, so all but the costs (`joined.COSTS`) depends on
    the definition of the sweep only. ``unfinished`` counts the trials of the study that did not run, or not
    far enough.

    Parameters
    ----------
    store : Store
        Finished or not; trials that did not run yet have no row.
    """
    content = store.content
    settings = store.settings()
    rows = []
    unfinished = count_unfinished(store)
    for row, end in counted(store):
        rows.append(
            {
                **identity(content),
                "sparsity": row.study.sparsity,
                "batch_size": row.study.batch_size,
                "trial": row.trial,
                "status": end.status,
                "steps": end.step if end.status == "reached" else None,
                "max_steps": end.step if end.status == "capped" else content["workload"]["max_steps"],
                "eval_interval": content["workload"]["eval_interval"],
                "unfinished": unfinished[row.study],
                **settings[row.trial],
                "init_seed": row.trial,
                "order_seed": ORDER_SEED,
                "samples": row.run.samples,
                "seconds": row.run.seconds,
                "total_seconds": row.total_seconds,
                "runs": row.runs,
                **{
                    name: getattr(row.run, name) for name in ("check_seconds", "checks", "evaluated", "floor")
                },
            }
        )
    names = [*identity(content), "sparsity", "batch_size", "trial", "status", "steps", "max_steps"]
    table = pd.DataFrame(rows, columns=None if rows else names)
    table["steps"] = table["steps"].astype("Int64")
    return table


def steps_table(store: Store) -> pd.DataFrame:
    """Return one row a study: the fewest steps in which a trial reached the goal, and the trial that did.

    Of equal trials the one with the lower number wins. ``steps`` is empty if none reached the goal;
    ``max_steps`` then is the step up to which every trial that did not diverge is known to have missed it,
    and ``status`` is ``diverged`` if all trials of the study did.
    ``unfinished`` counts trials that did not run, or not far enough.
    """
    content = store.content
    settings = store.settings()
    maximum = content["workload"]["max_steps"]
    unfinished = count_unfinished(store)
    found: dict[Study, list[tuple[int, End]]] = {}
    for row, end in counted(store):
        found.setdefault(row.study, []).append((row.trial, end))
    rows = []
    for study, ends in sorted(found.items()):
        reached = [(end.step, trial) for trial, end in ends if end.status == "reached"]
        missed = [end.step for _, end in ends if end.status in ("not_reached", "capped")]
        steps, winner = min(reached, default=(None, None))
        counts = {name: sum(end.status == name for _, end in ends) for name in STATUSES}
        status = "reached" if reached else "not_reached"
        if counts["diverged"] == content["trials"]:
            status = "diverged"
        rows.append(
            {
                **identity(content),
                "sparsity": study.sparsity,
                "batch_size": study.batch_size,
                "status": status,
                "steps": steps,
                "max_steps": maximum if reached else min(missed, default=maximum),
                "eval_interval": content["workload"]["eval_interval"],
                "trials": content["trials"],
                **counts,
                "unfinished": unfinished[study],
                "winner": winner,
                **{name: None if winner is None else settings[winner][name] for name in settings[0]},
            }
        )
    table = pd.DataFrame(
        rows, columns=None if rows else [*identity(content), "sparsity", "batch_size", "steps"]
    )
    types = content["workload"]["search_space"]
    for name in ("steps", "winner", *(name for name, axis in types.items() if axis["type"] == "INTEGER")):
        if name in table:  # a whole number where a study has none is no float for it
            table[name] = table[name].astype("Int64")
    return table


def curves_table(store: Store) -> pd.DataFrame:
    """Return one row a goal check: which trial, then the columns `CURVE`.

    Raises
    ------
    InputError
        The sweep kept no curves.
    """
    found = shallue_curves(store)
    tables = []
    for row, _ in counted(store):
        curve = found(row.study.sparsity, row.study.batch_size, row.trial)
        if curve is not None:
            curve.columns = pd.Index(CURVE)
            curve.insert(0, "trial", row.trial)
            curve.insert(0, "batch_size", row.study.batch_size)
            curve.insert(0, "sparsity", row.study.sparsity)
            curve.insert(0, "workload", store.content["workload"]["name"])
            tables.append(curve)
    if not tables:
        raise InputError(f"{store.path} holds no curves; a sweep keeps them with --full-curves")
    return pd.concat(tables, ignore_index=True)


def shallue_curves(store: Store) -> Callable[[float, int, int], pd.DataFrame | None]:
    """Return what gives the curve of a sparsity, batch size and trial, up to the step that counts."""
    found = {(row.study, row.trial): (row.run.curve, end.step) for row, end in counted(store)}

    def curve(sparsity: float, batch_size: int, trial: int) -> pd.DataFrame | None:
        values, last = found[Study(sparsity, batch_size), trial]
        if values is None or not (values[:, 0] <= last).any():
            return None
        table = pd.DataFrame(values[values[:, 0] <= last], columns=list(SHALLUE))
        return table.astype({"step": "int64"})

    return curve


def count_unfinished(store: Store) -> dict[Study, int]:
    """Return for each study how many of its trials did not run, or not far enough."""
    content, ends = store.content, store.ends()
    steps = sweep_budgets(content)
    return {
        study: content["trials"] - count_settled(ends[study], content["trials"], steps, cap=content["cap"])
        for study in ends
    }


def counted(store: Store) -> list[tuple[TrialRow, End]]:
    """Return every stored trial with what of it counts."""
    content = store.content
    ends = store.ends()
    found = []
    steps = sweep_budgets(content)
    bounds = {s: limits(ends[s], content["trials"], steps, cap=content["cap"]) for s in ends}
    for row in store.rows():
        found.append((row, settle(row.run.end, bounds[row.study][row.trial])))
    return found


def identity(content: dict[str, Any]) -> dict[str, Any]:
    """Return what names the workload in every row."""
    workload = content["workload"]
    return {"workload": workload["name"], **{name: workload[name] for name in IDENTITY}}
