"""Figure 4: which learning rates succeed at which batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit.report.figures.trials import add_trials
from sparsefit.report.material import Workload
from sparsefit.report.style import legend_below, log_axis, panels, positive_range, sparsity_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def gather(workload: Workload) -> pd.DataFrame:
    """Return one row a trial: ``sparsity, batch_size, trial, learning_rate, status, steps, best``."""
    trials = workload.trials
    if "learning_rate" not in trials:
        return trials.iloc[:0]
    frame = trials[["sparsity", "batch_size", "trial", "learning_rate", "status", "steps"]].copy()
    frame = frame[frame["learning_rate"] > 0]
    reached = frame[frame["status"] == "reached"].sort_values(["steps", "trial"], kind="stable")
    frame["best"] = frame.index.isin(reached.drop_duplicates(["sparsity", "batch_size"]).index)
    return frame


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel a sparsity: learning rates over batch sizes, the best joined by a line."""
    sparsities = sorted(frame["sparsity"].unique())
    figure, axes = panels(len(sparsities), 2, height=2.3, sharey=True)
    # Failures stand a little right of the successes of their batch size, so that none hides the other.
    aside = np.where(frame["status"] == "reached", 0.88, 1.14)
    for part, sparsity in zip(axes, sparsities, strict=True):
        inside = (frame["sparsity"] == sparsity).to_numpy()
        group = frame[inside]
        x = group["batch_size"].to_numpy() * np.where(group["best"], 0.88, aside[inside])
        best = group[group["best"]].sort_values("batch_size")
        part.plot(
            best["batch_size"] * 0.88, best["learning_rate"], "-", color="black", linewidth=0.8, zorder=1
        )
        add_trials(part, group, x, group["learning_rate"].to_numpy())
        part.set_title(sparsity_label(sparsity))
        log_axis(part, "x", *positive_range(frame["batch_size"]))
        low, high = positive_range(frame["learning_rate"])
        log_axis(part, "y", low / 1.2, high * 1.2, base=10)
        part.set_xlabel("batch size B")
    for part in axes[::2]:
        part.set_ylabel("learning rate")
    legend_below(figure, axes, columns=3)
    return figure
