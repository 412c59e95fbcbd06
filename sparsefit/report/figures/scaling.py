"""Figures 1 and 7 to 11: steps-to-result against batch size, with the fit, in four columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.report.material import Workload, sparsity_of
from sparsefit.report.style import (
    in_order,
    legend_below,
    log_axis,
    new_figure,
    positive_range,
    sparsity_label,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 60
"""Batch sizes at which a curve is drawn."""


def gather(workload: Workload) -> pd.DataFrame:
    """Return measured studies and fitted curves of one workload.

    Returns
    -------
    DataFrame
        Columns ``sparsity, kind, batch_size, steps, low, high``; kind is ``measured`` (the true step lies
        above ``low``), ``not reached`` (K* is above ``steps``), ``fit`` (``low, high`` is the interval of the
        curve) or ``c1/c2``.
    """
    import pandas as pd

    steps = workload.steps
    low = np.where(steps["censored"], steps["steps"], steps["steps"] - steps["eval_interval"].fillna(0.0))
    high = np.where(steps["censored"], np.nan, steps["steps"])
    kind = np.where(steps["censored"], "not reached", "measured")
    frames = [steps[["sparsity", "batch_size", "steps"]].assign(low=low, high=high, kind=kind)]
    for fit in workload.fits:
        bend = fit.critical_batch_size.value
        sizes = np.geomspace(*fit.batch_size_range, POINTS)
        kinds = ["fit"] * POINTS
        if bend is not None:
            sizes, kinds = np.append(sizes, bend), [*kinds, "c1/c2"]
        curve = fit.predict(sizes)
        columns = {"batch_size": sizes, "steps": curve.steps, "low": curve.low, "high": curve.high}
        frames.append(pd.DataFrame({"sparsity": sparsity_of(fit.group), "kind": kinds, **columns}))
    frame = pd.concat(frames, ignore_index=True)
    return frame[["sparsity", "kind", "batch_size", "steps", "low", "high"]]


def draw(frame: pd.DataFrame) -> Figure:
    """Draw least and largest sparsity alone, all together, and all divided by their first point."""
    sparsities = sorted(frame["sparsity"].unique())
    figure = new_figure(2.35)
    alone = sparsities if len(sparsities) < 2 else [sparsities[0], sparsities[-1]]
    axes = figure.subplots(1, len(alone) + (2 if len(sparsities) > 1 else 1))
    for part, sparsity in zip(axes, alone, strict=False):
        add_group(part, frame, sparsity, sparsities)
        part.set_title(sparsity_label(sparsity) if len(sparsities) > 1 else "measured and fitted")
    if len(sparsities) > 1:
        for sparsity in sparsities:
            add_group(axes[-2], frame, sparsity, sparsities)
        axes[-2].set_title("all")
    for sparsity in sparsities:
        add_group(axes[-1], frame, sparsity, sparsities, divided=True)
    axes[-1].set_title("over the first batch size")
    drawn = frame[frame["kind"] != "c1/c2"]
    for part in axes:
        log_axis(part, "x", *positive_range(drawn["batch_size"]))
        part.set_xlabel("batch size B")
    for part in axes[:-1]:
        log_axis(part, "y", *positive_range(drawn["steps"]))
    axes[0].set_ylabel("steps-to-result K*")
    axes[-1].plot([], [], "k:", linewidth=0.8, label="linear scaling")
    axes[-1].plot([], [], "k|", markersize=9, label="c1/c2")
    if (frame["kind"] == "not reached").any():
        axes[-1].plot([], [], "k", linestyle="none", marker="2", markersize=6, label="K* above")
    legend_below(figure, [*axes[-2:], axes[0]], columns=8)
    return figure


def add_group(
    axes: Axes, frame: pd.DataFrame, sparsity: float, sparsities: list[float], *, divided: bool = False
) -> None:
    """Add points, curve, interval, linear scaling and c1/c2 of one sparsity."""
    group = frame[frame["sparsity"] == sparsity]
    style: dict[str, Any] = in_order(sparsities.index(sparsity), len(sparsities))
    line = {"color": style["color"], "linestyle": style["linestyle"]}
    fit = group[group["kind"] == "fit"]
    point = group[group["kind"] == "measured"]
    unit = 1.0
    if divided:
        start = fit if len(fit) else point
        unit = float(start["steps"].iloc[0]) if len(start) else 1.0
    if len(fit):
        axes.fill_between(
            fit["batch_size"], fit["low"] / unit, fit["high"] / unit, color=style["color"], alpha=0.18, lw=0
        )
        axes.plot(fit["batch_size"], fit["steps"] / unit, **line)
        first = fit.iloc[0]
        ends = np.array([first["batch_size"], fit["batch_size"].iloc[-1]])
        axes.plot(ends, first["steps"] * ends[0] / ends / unit, ":", color=style["color"], linewidth=0.8)
    axes.plot(
        point["batch_size"], point["steps"] / unit, linestyle="none", color=style["color"],
        marker=style["marker"], label=sparsity_label(sparsity),
    )  # fmt: skip
    lost = group[group["kind"] == "not reached"]
    axes.plot(lost["batch_size"], lost["steps"] / unit, "2", color=style["color"], markersize=6)
    bend = group[group["kind"] == "c1/c2"]
    axes.plot(bend["batch_size"], bend["steps"] / unit, "|", color=style["color"], markersize=11, mew=1.4)
    if divided:
        lows = positive_range(*(line.get_ydata() for line in axes.lines if line.get_linestyle() != ":"))
        log_axis(axes, "y", *lows)
