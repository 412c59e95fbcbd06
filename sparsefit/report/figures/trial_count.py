"""K*(n): how the steps-to-result falls with the number of trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsefit.report.material import Workload
from sparsefit.report.style import in_order, log_axis, panels, sparsity_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def gather(workload: Workload) -> pd.DataFrame:
    """Return the best of the first n trials of every study, in the order of the search.

    Returns
    -------
    DataFrame
        Columns ``sparsity, batch_size, trials, steps, over_best``; empty cells before a trial reached the
        goal. A trial that was stopped early cannot have changed any of them.
    """
    frame = workload.trials[["sparsity", "batch_size", "trial", "steps"]].sort_values(
        ["sparsity", "batch_size", "trial"]
    )
    study = [frame["sparsity"], frame["batch_size"]]
    frame["trials"] = frame.groupby(study).cumcount() + 1
    frame["steps"] = frame["steps"].groupby(study).cummin().groupby(study).ffill()
    frame["over_best"] = frame["steps"] / frame["steps"].groupby(study).transform("min")
    return frame.drop(columns="trial")


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel a sparsity: a line a batch size, dark for small ones, and their median."""
    sparsities, sizes = sorted(frame["sparsity"].unique()), sorted(frame["batch_size"].unique())
    figure, axes = panels(len(sparsities), 4, height=1.9, sharey=True)
    top = max(float(frame["over_best"].max()), 1.1)
    for part, sparsity in zip(axes, sparsities, strict=True):
        group = frame[frame["sparsity"] == sparsity]
        for index, size in enumerate(sizes):
            rows = group[group["batch_size"] == size]
            color = in_order(index, len(sizes))["color"]
            part.step(rows["trials"], rows["over_best"], where="post", color=color, linewidth=0.7)
        # A study without a result counts as infinitely far from its best one.
        median = group.assign(over_best=group["over_best"].fillna(float("inf")))
        median = median.groupby("trials")["over_best"].median().replace(float("inf"), float("nan"))
        part.step(median.index, median, where="post", color="black", linewidth=2, linestyle="--")
        log_axis(part, "y", 1.0, top)
        part.set_title(sparsity_label(sparsity))
        count = int(frame["trials"].max())
        part.set_xticks(sorted({1, -(-count // 2), count}))
        part.set_xlabel("number of trials n")
    axes[0].set_ylabel("K*(n) / K*")
    for index in sorted({0, len(sizes) // 2, len(sizes) - 1}):
        axes[-1].plot([], [], color=in_order(index, len(sizes))["color"], label=f"B = {sizes[index]:g}")
    axes[-1].plot([], [], "k--", linewidth=2, label="median")
    figure.legend(loc="outside lower center", ncols=4)
    return figure
