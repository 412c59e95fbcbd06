"""Figure 5: the local Lipschitz constant of the gradient over training; and the loss beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsefit.fitting.decomposition import Decomposition
from sparsefit.report.style import in_order, legend_below, log_axis, new_figure, sparsity_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

DECADE = 10
"""Numbers that span more are drawn on a logarithmic axis."""


def gather(decomposition: Decomposition) -> pd.DataFrame:
    """Return ``sparsity, seed, step, smoothness, loss`` of every point; empty without trajectories."""
    import pandas as pd

    rows = [
        (t.sparsity, t.seed, point.step, point.smoothness, point.loss)
        for t in decomposition.trajectories
        for point in t.points
    ]
    return pd.DataFrame(rows, columns=["sparsity", "seed", "step", "smoothness", "loss"])


def draw(frame: pd.DataFrame) -> Figure:
    """Draw L and the training loss over steps: means over seeds, and single seeds thin behind them."""
    figure = new_figure(2.4)
    axes = figure.subplots(1, 2)
    sparsities = sorted(frame["sparsity"].unique())
    for part, name, words in zip(
        axes, ("smoothness", "loss"), ("Lipschitz constant L of ∇f", "training loss f"), strict=True
    ):
        for index, sparsity in enumerate(sparsities):
            group = frame[frame["sparsity"] == sparsity]
            style = in_order(index, len(sparsities))
            for _, seed in group.groupby("seed"):
                part.plot(seed["step"], seed[name], color=style["color"], linewidth=0.4, alpha=0.6)
            mean = group.groupby("step")[name].mean()
            part.plot(mean.index, mean, **style, label=sparsity_label(sparsity))
        part.set_xlabel("training step")
        part.set_ylabel(words)
        low, high = frame[name].min(), frame[name].max()
        if 0 < DECADE * low < high:  # the first steps would leave all the others on one line
            log_axis(part, "y", low, high, base=10)
        else:
            part.set_ylim(bottom=0)
    legend_below(figure, list(axes))
    return figure
