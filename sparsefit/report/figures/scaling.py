"""Figures 1 and 7 to 11: steps-to-result against batch size, with the fit, in four columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.fitting.results import CurveFit
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
ARROW = [(0, -1), (0, 1), (-0.4, 0.3), (0.4, 0.3), (0, 1)]
LOST: dict[str, Any] = {"linestyle": "none", "marker": ARROW, "markersize": 8, "markeredgewidth": 0.9}
"""How a study is drawn that did not reach the goal."""


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
    frames += [curve(fit).assign(sparsity=sparsity_of(fit.group)) for fit in workload.fits]
    frame = pd.concat(frames, ignore_index=True)
    return frame[["sparsity", "kind", "batch_size", "steps", "low", "high"]]


def curve(fit: CurveFit) -> pd.DataFrame:
    """Return the rows of kind ``fit`` and ``c1/c2`` of one fit."""
    import pandas as pd

    bend = fit.critical_batch_size.value
    sizes = np.geomspace(*fit.batch_size_range, POINTS)
    kinds = ["fit"] * POINTS
    if bend is not None:
        sizes, kinds = np.append(sizes, bend), [*kinds, "c1/c2"]
    found = fit.predict(sizes)
    return pd.DataFrame(
        {"kind": kinds, "batch_size": sizes, "steps": found.steps, "low": found.low, "high": found.high}
    )


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
    add_legend(axes[-1], lost=bool((frame["kind"] == "not reached").any()))
    legend_below(figure, [*axes[-2:], axes[0]], columns=8)
    return figure


def add_group(
    axes: Axes, frame: pd.DataFrame, sparsity: float, sparsities: list[float], *, divided: bool = False
) -> None:
    """Add what there is of one sparsity."""
    group = frame[frame["sparsity"] == sparsity]
    unit = 1.0
    if divided:
        start = group[group["kind"] == ("fit" if (group["kind"] == "fit").any() else "measured")]
        unit = float(start["steps"].iloc[0]) if len(start) else 1.0
    style = in_order(sparsities.index(sparsity), len(sparsities))
    add_rows(axes, group, style, sparsity_label(sparsity), steps=unit)
    if divided:
        lows = positive_range(*(line.get_ydata() for line in axes.lines if line.get_linestyle() != ":"))
        log_axis(axes, "y", *lows)


def add_rows(
    axes: Axes,
    rows: pd.DataFrame,
    style: Mapping[str, Any],
    label: str,
    *,
    size: float = 1.0,
    steps: float = 1.0,
    linear: bool = True,
) -> None:
    """Add points, curve, interval, linear scaling and c1/c2 of one group, in units of size and steps."""
    values = ["batch_size", "steps", "low", "high"]
    rows = rows.assign(**(rows[values] / [size, steps, steps, steps]))
    fit, point, lost, bend = (
        rows[rows["kind"] == kind] for kind in ("fit", "measured", "not reached", "c1/c2")
    )
    color = style["color"]
    if len(fit):
        axes.fill_between(fit["batch_size"], fit["low"], fit["high"], color=color, alpha=0.18, lw=0)
        axes.plot(fit["batch_size"], fit["steps"], color=color, linestyle=style["linestyle"])
    if len(fit) and linear:
        ends = fit["batch_size"].iloc[[0, -1]].to_numpy()
        axes.plot(ends, fit["steps"].iloc[0] * ends[0] / ends, ":", color=color, linewidth=0.8)
    # Of a point that may lie anywhere above 0, no more than a half, on an axis that has no 0.
    below = np.maximum(point["low"], point["steps"] / 2)
    axes.vlines(point["batch_size"], below, point["steps"], color=color, linewidth=0.8)
    axes.plot(point["batch_size"], point["steps"], **{**style, "linestyle": "none"}, label=label)
    axes.plot(lost["batch_size"], lost["steps"], **LOST, color=color)
    axes.plot(bend["batch_size"], bend["steps"], "|", color=color, markersize=11, mew=1.4)


def add_legend(axes: Axes, *, lost: bool, linear: bool = True) -> None:
    """Add to a legend what lines and markers of all groups mean."""
    if linear:
        axes.plot([], [], "k:", linewidth=0.8, label="linear scaling")
    axes.plot([], [], "k|", markersize=9, label="c1/c2")
    if lost:
        axes.plot([], [], **LOST, color="k", label="K* above")
