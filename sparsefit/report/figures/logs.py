"""Figure 6: validation error over training, of the best trial of each study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsefit.report.material import Workload
from sparsefit.report.style import in_order, legend_below, panels, sparsity_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = 4
"""Batch sizes drawn, spread from the smallest to the largest; the data file holds all."""


def gather(workload: Workload) -> pd.DataFrame:
    """Return ``sparsity, batch_size, trial, step, training_loss, validation_error, validation_loss``.

    Only of the trial that needed the fewest steps; empty where the sweep kept no curves.
    """
    curves = workload.source.curves
    if curves is None:
        return workload.trials.iloc[:0]
    reached = workload.trials[workload.trials["status"] == "reached"]
    best = reached.sort_values(["steps", "trial"], kind="stable").drop_duplicates(["sparsity", "batch_size"])
    keys = ["sparsity", "batch_size", "trial"]
    return curves.merge(best[keys], on=keys).sort_values([*keys, "step"])


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel a batch size, a line a sparsity."""
    sizes, sparsities = sorted(frame["batch_size"].unique()), sorted(frame["sparsity"].unique())
    count = min(SHOWN, len(sizes))
    shown = [sizes[round(i * (len(sizes) - 1) / max(count - 1, 1))] for i in range(count)]
    figure, axes = panels(count, SHOWN, height=1.9, sharey=True)
    for part, size in zip(axes, shown, strict=True):
        for index, sparsity in enumerate(sparsities):
            rows = frame[(frame["batch_size"] == size) & (frame["sparsity"] == sparsity)]
            style = in_order(index, len(sparsities))
            part.plot(
                rows["step"],
                rows["validation_error"],
                **style,
                markevery=0.25,
                label=sparsity_label(sparsity),
            )
        part.set_title(f"B = {size:g}")
        part.set_xlabel("training step")
    axes[0].set_ylabel("validation error")
    axes[0].set_ylim(0, 1)
    legend_below(figure, axes)
    return figure
