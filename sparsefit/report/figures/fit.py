"""Steps-to-result against batch size: the data, the fit with its band, and where it bends."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.fitting.results import CurveFit, FitResult
from sparsefit.report.style import MARKERS
from sparsefit.report.terminal import plain, varying

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 10
"""Groups up to which a legend names them."""
LINE = 44
"""Letters in a line of the legend."""


def draw(result: FitResult, kind: str) -> bytes:
    """Return the figure of a fit as a file.

    Left: steps-to-result, with c1/c2 as a vertical tick on each curve. Right: both axes in units of the first
    batch size of each group, so that perfect scaling is one line (Figure 1 of Lee et al., arXiv 2003.11316,
    columns 3 and 4).

    Parameters
    ----------
    result : FitResult
    kind : {"png", "pdf", "svg"}
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    plain_axes, scaled_axes = figure.subplots(1, 2)
    labels = name_groups(result.fits)
    shades = colormaps["viridis"](np.linspace(0, 0.8, max(len(result.fits), 2)))
    for index, fit in enumerate(result.fits):
        style = {"color": shades[index], "marker": MARKERS[index % len(MARKERS)]}
        add_curve(plain_axes, fit, style, label=labels[index])
        add_curve(scaled_axes, fit, style, label=None, scaled=True)
    finish(plain_axes, "batch size B", "steps-to-result K*")
    finish(scaled_axes, "B / first B", "K* / K* at the first B")
    scaled_axes.plot([], [], "k--", linewidth=1, label="perfect scaling")
    scaled_axes.plot([], [], "k|", markersize=14, label="c1/c2")
    scaled_axes.legend(framealpha=0.8, edgecolor="none", loc="lower left")
    if len(result.fits) <= NAMED and any(labels):
        plain_axes.legend(framealpha=0.8, edgecolor="none", loc="lower left")
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=160)
    return content.getvalue()


def name_groups(fits: Sequence[CurveFit]) -> list[str]:
    """Return what tells each group from the others, in lines that a legend has room for."""
    keys = varying([fit.group for fit in fits])
    names = (", ".join(f"{name} {plain(fit.group[name])}" for name in keys) for fit in fits)
    return [textwrap.fill(name, LINE) for name in names]


def add_curve(
    axes: Axes, fit: CurveFit, style: dict[str, Any], *, label: str | None, scaled: bool = False
) -> None:
    """Add points, curve, band, perfect scaling and c1/c2 of one group."""
    first, last = fit.batch_size_range
    curve = fit.predict(np.geomspace(first, last, 200))
    start = curve.steps[0]
    x, y = (first, start) if scaled else (1.0, 1.0)
    color = style["color"]
    axes.fill_between(
        curve.batch_size / x, curve.low / y, curve.high / y, color=color, alpha=0.2, linewidth=0
    )
    axes.plot(curve.batch_size / x, curve.steps / y, color=color, linewidth=1.5)
    axes.plot(
        np.array([first, last]) / x, np.array([start, start * first / last]) / y, "--", color=color, lw=0.8
    )
    reached = np.isfinite(fit.upper)
    size, lower, upper = fit.batch_size[reached] / x, fit.lower[reached] / y, fit.upper[reached] / y
    known = lower < upper
    if known.any():
        axes.vlines(size[known], np.maximum(lower[known], upper[known] / 2), upper[known], color=color, lw=1)
    axes.plot(size, upper, linestyle="none", markersize=5, label=label, **style)
    if not reached.all():
        axes.plot(
            fit.batch_size[~reached] / x,
            fit.lower[~reached] / y,
            linestyle="none",
            marker="$\\uparrow$",
            markersize=11,
            color=color,
        )
    bend = fit.critical_batch_size.value
    if bend is not None and first <= bend <= last:
        axes.plot(bend / x, fit.predict(bend).steps / y, "|", color=color, markersize=22, markeredgewidth=2)


def finish(axes: Axes, x: str, y: str) -> None:
    """Set logarithmic axes with powers of two."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
