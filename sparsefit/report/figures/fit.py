"""Steps-to-result against batch size: the data, the fit with its band, and where it bends."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.fitting.results import CurveFit, FitResult
from sparsefit.report.figures.scaling import add_legend, add_rows, curve
from sparsefit.report.style import in_order, legible, log_axis, new_figure, positive_range, save
from sparsefit.report.terminal import plain, varying

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NAMED = 10
"""Groups up to which a legend names them."""
LINE, LINES = 44, 6
"""Letters in a line of the legend, and lines of a name."""


def draw(result: FitResult, kind: str) -> bytes:
    """Return the figure of a fit as a file.

    Left: steps-to-result, with c1/c2 as a vertical tick on each curve. Right: both axes in units of the first
    batch size of each group, so that linear scaling is one line (Figure 1 of Lee et al., arXiv 2003.11316,
    columns 3 and 4).

    Parameters
    ----------
    result : FitResult
    kind : {"png", "pdf", "svg"}
    """
    return save(partial(picture, result.fits), [kind], {"savefig.dpi": 220})[0]


def picture(fits: Sequence[CurveFit]) -> Figure:
    """Return the figure of several fits."""
    import pandas as pd

    figure = new_figure(3.3)
    left, right = figure.subplots(1, 2)
    labels = name_groups(fits)
    drawn = []
    for index, (fit, label) in enumerate(zip(fits, labels, strict=True)):
        rows = pd.concat([points(fit), curve(fit)], ignore_index=True)
        size = fit.batch_size_range[0]
        steps = float(fit.predict(size).steps[0])
        style = in_order(index, len(fits))
        add_rows(left, rows, style, label)
        add_rows(right, rows, style, "", size=size, steps=steps)
        rows = rows[rows["kind"] != "c1/c2"]
        drawn.append(rows.assign(over_size=rows["batch_size"] / size, over_steps=rows["steps"] / steps))
    every = pd.concat(drawn)
    for axes, x, y in ((left, "batch_size", "steps"), (right, "over_size", "over_steps")):
        log_axis(axes, "x", *positive_range(every[x]))
        log_axis(axes, "y", *positive_range(every[y]))
    left.set_xlabel("batch size B")
    left.set_ylabel("steps-to-result K*")
    right.set_xlabel("B / first B")
    right.set_ylabel("K* / K* at the first B")
    add_legend(right, lost=bool((every["kind"] == "not reached").any()))
    behind: Any = {"loc": "lower left", "frameon": True, "framealpha": 0.8, "edgecolor": "none"}
    right.legend(**behind)
    if len(fits) <= NAMED and any(labels):
        left.legend(**behind)
    return figure


def points(fit: CurveFit) -> pd.DataFrame:
    """Return the rows of a fit as `curve` does its curve."""
    import pandas as pd

    reached = np.isfinite(fit.upper)
    kind = np.where(reached, "measured", "not reached")
    steps = np.where(reached, fit.upper, fit.lower)
    columns = {"batch_size": fit.batch_size, "steps": steps, "low": fit.lower, "high": fit.upper}
    return pd.DataFrame({"kind": kind, **columns})


def name_groups(fits: Sequence[CurveFit]) -> list[str]:
    """Return what tells each group from the others, in lines that a legend has room for."""
    keys = varying([fit.group for fit in fits])
    names = (", ".join(f"{name} {plain(fit.group[name])}" for name in keys) for fit in fits)
    return [textwrap.fill(legible(name, LINES * LINE), LINE) for name in names]
