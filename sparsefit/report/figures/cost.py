"""What a sweep cost, and what each of its devices saved: rounds and caps, early answers of goal checks."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.fitting.ratios import number
from sparsefit.report.material import Workload
from sparsefit.report.source import COSTS
from sparsefit.report.style import in_kind, log_axis, new_figure, positive_range

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING = {
    "samples_full": "full protocol, at most",
    "samples": "this sweep",
}
CHECKS = {
    "evaluated_full": "whole validation set each time",
    "evaluated": "this sweep",
    "floor": "least that an exact answer needs",
}


def gather(workload: Workload) -> pd.DataFrame:
    """Return the cost of the trials of each study.

    Returns
    -------
    DataFrame
        Columns ``sparsity, batch_size, samples`` (examples trained on), ``samples_full`` (the same if no
        trial were stopped early: those that were might have ended before the last step, so at most this),
        ``evaluated, floor, evaluated_full`` (validation examples of goal checks; of all checks on the whole
        set), ``seconds, total_seconds`` (of the longest run of each trial; with the runs of earlier rounds),
        ``check_seconds``; a column is empty where the input does not record it, all are without ``samples``.
    """
    trials = workload.trials
    if "samples" not in trials or trials["samples"].isna().any() or trials.empty:
        return trials.iloc[:0]
    frame = trials.reindex(columns=[*dict.fromkeys([*trials, *COSTS])])
    most = frame["max_steps"].max()
    ended = frame["status"].isin(["reached", "diverged"])
    full = most * frame["batch_size"]
    frame["samples_full"] = np.where(ended, frame["samples"], np.maximum(full, frame["samples"]))
    size = validation_size(frame, number(workload.group.get("goal_error")))
    frame["evaluated_full"] = frame["checks"] * size
    names = ["samples", "samples_full", "evaluated", "floor", "evaluated_full"]
    names += ["seconds", "total_seconds", "check_seconds"]
    return frame.groupby(["sparsity", "batch_size"])[names].sum(min_count=1).reset_index()


def words(frame: pd.DataFrame) -> str:
    """Say in numbers what each device saved."""
    if frame.empty:
        return ""
    total = frame.sum(numeric_only=True)
    said = [
        f"Rounds and caps: {total['samples']:.3g} examples trained on, at most {total['samples_full']:.3g} "
        f"without, {100 * total['samples'] / total['samples_full']:.3g} % of that."
    ]
    if total["seconds"] > 0 and total["total_seconds"] > 1.0001 * total["seconds"]:
        again = 1 - total["seconds"] / total["total_seconds"]
        said.append(f"Trials that a later round began again took {100 * again:.2g} % of the time.")
    if total["evaluated"] > 0:
        done = f"Goal checks: {total['evaluated']:.3g} validation examples, "
        full = total["evaluated_full"]
        if frame["evaluated_full"].isna().any():
            said.append(done + "of a number in full that this input does not tell.")
        elif full > 1.0001 * total["evaluated"]:
            said.append(
                done + f"{100 * total['evaluated'] / full:.3g} % of whole evaluations; no exact check does "
                f"with less than {100 * total['floor'] / full:.3g} %."
            )
        else:
            said.append(done + "all of them each time, since training curves were kept.")
    return " ".join(said)


def validation_size(trials: pd.DataFrame, goal_error: float | None) -> float:
    """Return the size of the validation set that the floors of the checks tell; NaN if they do not.

    With A errors allowed, each check that refuses needs A + 1 examples, and the last one, which accepts,
    n - A: all floors of a trial that reached the goal sum to (checks - 1)(A + 1) + n - A.
    """
    if (trials["evaluated"] == trials["floor"]).all():
        return float(trials["floor"].sum() / trials["checks"].sum())
    reached = trials[(trials["status"] == "reached") & (trials["checks"] > 1) & (trials["floor"] > 0)]
    if reached.empty or goal_error is None or not 0 < goal_error < 1:
        return float("nan")
    row = reached.iloc[0]
    checks, total = int(row["checks"]), int(row["floor"])
    guess = round((total - checks + 1) / (1 + (checks - 2) * goal_error))
    for n in range(max(guess - 2 * checks - 2, 1), guess + 2 * checks + 3):
        allowed = floor(goal_error * n + 1e-9)
        if (checks - 1) * (allowed + 1) + n - allowed == total:
            return float(n)
    return float("nan")


def draw(frame: pd.DataFrame) -> Figure:
    """Draw examples trained on and validation examples evaluated, by batch size, over all sparsities."""
    figure = new_figure(2.5)
    sums = frame.drop(columns="sparsity").groupby("batch_size").sum(min_count=1)
    left, right = figure.subplots(1, 2)
    add_lines(left, sums, TRAINING, "examples trained on")
    add_lines(right, sums, CHECKS, "validation examples evaluated")
    return figure


def add_lines(axes: Axes, sums: pd.DataFrame, names: dict[str, str], label: str) -> None:
    """Add one line a way of doing it, or say that the input does not record it."""
    known = {name: words for name, words in names.items() if sums[name].notna().any()}
    if not known:
        axes.text(0.5, 0.5, "not recorded in this input", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    for index, (name, words) in enumerate(known.items()):
        axes.plot(sums.index, sums[name], label=words, **in_kind(index))
    log_axis(axes, "x", *positive_range(sums.index))
    log_axis(axes, "y", *positive_range(sums[list(known)]), base=10)
    axes.set_xlabel("batch size B")
    axes.set_ylabel(label)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1))  # lines may be anywhere inside
