"""Figures 3 and 13 to 18: all trials over the metaparameters, by how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.report.material import Workload
from sparsefit.report.style import STATUS_STYLES, legend_below, new_figure, plain_number, power

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 8
"""Batch sizes side by side at most; more of them go into further rows."""

GAP = 0.10
"""Space between two panels, in units of a panel."""

APART = 0.34
"""Least distance of two ticks, in units of a panel."""


def gather(workload: Workload, other: str | None = None) -> pd.DataFrame:
    """Return one row a trial, over two metaparameters.

    Parameters
    ----------
    workload : Workload
    other : str, optional
        The metaparameter beside the learning rate; without it, the steps to the goal are.

    Returns
    -------
    DataFrame
        Columns ``sparsity, batch_size, trial, status, steps, best``, all metaparameters, and the coordinates
        ``x, y`` in [0, 1] with their ``x_name, x_low, x_high, x_scale`` and the same for y.
    """
    trials = workload.trials
    names = list(workload.source.metaparameters)
    first = "learning_rate" if "learning_rate" in names else next(iter(names), None)
    if first is None or trials.empty:
        return trials.iloc[:0]
    frame = trials[["sparsity", "batch_size", "trial", "status", "steps", *names]].copy()
    reached = frame[frame["status"] == "reached"].sort_values(["steps", "trial"], kind="stable")
    frame["best"] = frame.index.isin(reached.drop_duplicates(["sparsity", "batch_size"]).index)
    space = workload.source.search_space
    place(frame, "x", first, space.get(first))
    if other is None:
        # Trials without a result stand on a rail above those that have one.
        place(frame, "y", "steps", {"scale": "LOG_SCALE"})
        frame["y"] = (0.82 * frame["y"]).where(frame["status"] == "reached", 0.95)
    else:
        place(frame, "y", other, space.get(other))
    return frame[frame["x"].notna() & frame["y"].notna()]


def others(workload: Workload) -> list[str | None]:
    """Return the metaparameters to be drawn against the learning rate, one figure each; None: the steps."""
    names: list[str | None] = [name for name in workload.source.metaparameters if name != "learning_rate"]
    return names or [None]


def place(frame: pd.DataFrame, axis: str, name: str, space: Any) -> None:
    """Add the coordinate of a metaparameter on the scale that it was searched on."""
    values = frame[name].to_numpy(float)
    space = space or {}
    known = values[np.isfinite(values)]
    low = space.get("min_value", known.min() if len(known) else 1.0)
    high = space.get("max_value", known.max() if len(known) else 1.0)
    guess = "REVERSE_LOG_SCALE" if name == "momentum" and low > 0 and high < 1 else "LOG_SCALE"
    scale = space.get("scale") or guess
    scale = "LINEAR_SCALE" if scale == "LOG_SCALE" and low <= 0 else scale
    ends = np.array([on_scale(low, scale), on_scale(high, scale)])
    width = ends[1] - ends[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        frame[axis] = (on_scale(values, scale) - ends[0]) / width if width else np.full(len(values), 0.5)
    frame[f"{axis}_name"], frame[f"{axis}_scale"] = name, scale
    frame[f"{axis}_low"], frame[f"{axis}_high"] = low, high


def on_scale(values: Any, scale: str) -> Any:
    """Return values on a scale: log10 x, -log10(1 - x) or x."""
    x = np.asarray(values, dtype=float)
    if scale == "LOG_SCALE":
        return np.log10(x)
    return -np.log10(1 - x) if scale == "REVERSE_LOG_SCALE" else x


def ticks(low: float, high: float, scale: str) -> tuple[np.ndarray, list[str]]:
    """Return at most three coordinates with their labels."""
    ends = np.array([on_scale(low, scale), on_scale(high, scale)], dtype=float)
    outermost = np.array([0.0, 1.0]), [number(low, scale), number(high, scale)]
    if scale == "LINEAR_SCALE" or ends[1] - ends[0] < 1:
        return outermost
    first, last = np.ceil(ends[0] - 1e-9), np.floor(ends[1] + 1e-9)
    exponents = np.arange(first, last + 1, np.ceil(APART * (ends[1] - ends[0])))
    if len(exponents) < 2:
        return outermost
    words = [power(e) if scale == "LOG_SCALE" else f"{1 - 10.0**-e:.{int(e)}f}" for e in exponents]
    return (exponents - ends[0]) / (ends[1] - ends[0]), words


def number(value: float, scale: str) -> str:
    """Return a number with the digits that its scale tells: 0.99985, not 1."""
    if scale == "LOG_SCALE":
        return plain_number(float(f"{value:.3g}"))
    if scale == "LINEAR_SCALE":
        return f"{value:.3g}"
    return f"{value:.{max(2, int(np.ceil(on_scale(value, scale))) + 1)}f}"


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel a study: batch sizes from left to right, sparsities from top to bottom.

    All panels lie in one axes, shifted: dozens of axes with their own logarithmic ticks take seconds.
    """
    sizes, sparsities = sorted(frame["batch_size"].unique()), sorted(frame["sparsity"].unique())
    columns = -(-len(sizes) // -(-len(sizes) // COLUMNS))
    bands = [sizes[start : start + columns] for start in range(0, len(sizes), columns)]
    rows = [(band, sparsity) for band in bands for sparsity in sparsities]
    heights = np.array([1 + GAP + (0.32 if s == sparsities[0] else 0.0) for _, s in rows]).cumsum()
    tall = heights[-1] * (6.2 / max(columns, 4) / (1 + GAP)) + 0.75
    figure = new_figure(tall)
    axes = figure.subplots()
    axes.set_axis_off()
    left, bottom = np.empty(len(frame)), np.empty(len(frame))
    size, sparsity = frame["batch_size"].to_numpy(), frame["sparsity"].to_numpy()
    boxes = []
    for (band, share), height in zip(rows, heights, strict=True):
        for column, value in enumerate(band):
            corner = (column * (1 + GAP), -height)
            boxes.append(corner)
            inside = (size == value) & (sparsity == share)
            left[inside], bottom[inside] = corner
            if share == sparsities[0]:
                axes.text(corner[0] + 0.5, corner[1] + 1.05, f"B = {value:g}", ha="center", va="bottom")
        label(axes, frame.iloc[0], band, -height, name=f"S = {share:g}", last=share == sparsities[-1])
    add_boxes(axes, boxes)
    add_trials(axes, frame, frame["x"].to_numpy() + left, frame["y"].to_numpy() + bottom)
    axes.set_xlim(-0.6, columns * (1 + GAP))
    axes.set_ylim(-heights[-1] - 0.4, 1.3 - heights[0])
    y_name = "steps to the goal" if frame["y_name"].iloc[0] == "steps" else frame["y_name"].iloc[0]
    across, up = columns * (1 + GAP) / 2, -heights[-1] / 2
    axes.text(
        across, -heights[-1] - 0.22, str(frame["x_name"].iloc[0]).replace("_", " "), ha="center", va="top"
    )
    axes.text(-0.5, up, str(y_name).replace("_", " "), rotation=90, ha="right", va="center")
    legend_below(figure, [axes], columns=3)
    return figure


def label(axes: Axes, row: pd.Series, band: Sequence[float], y: float, *, name: str, last: bool) -> None:
    """Write the ticks of a row of panels at its left, its name at its right, the other ticks below."""
    scale = 0.82 if row["y_name"] == "steps" else 1.0
    for at, word in zip(*ticks(row["y_low"], row["y_high"], row["y_scale"]), strict=True):
        axes.text(-0.04, y + scale * at, word, ha="right", va="center", fontsize=6)
    axes.text(len(band) * (1 + GAP) - 0.07, y + 0.5, name, rotation=270, va="center", ha="left")
    if last:
        for column in range(len(band)):
            for at, word in zip(*ticks(row["x_low"], row["x_high"], row["x_scale"]), strict=True):
                side = "left" if at < 0.1 else "right" if at > 0.9 else "center"
                axes.text(column * (1 + GAP) + at, y - 0.05, word, ha=side, va="top", fontsize=6)


def add_boxes(axes: Axes, corners: Sequence[tuple[float, float]]) -> None:
    """Draw the frames of the panels."""
    from matplotlib.collections import PolyCollection

    square = np.array([[-0.03, -0.03], [1.03, -0.03], [1.03, 1.03], [-0.03, 1.03]])
    shapes = [square + corner for corner in corners]
    axes.add_collection(PolyCollection(shapes, facecolors="none", edgecolors="#999999", linewidths=0.5))


def add_trials(axes: Axes, frame: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> None:
    """Add every trial, the best ones last."""
    kind = np.where(frame["best"], "best", frame["status"])
    for status, style in STATUS_STYLES.items():
        chosen = kind == status
        if chosen.any():
            axes.plot(x[chosen], y[chosen], linestyle="none", **{"ms": 2.6, "mew": 0.6, **style})
