"""Residuals of log K* about the fitted curve, over batch size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sparsefit.report.material import Workload, sparsity_of
from sparsefit.report.style import in_order, log_axis, panels, positive_range, sparsity_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def gather(workload: Workload) -> pd.DataFrame:
    """Return ``sparsity, batch_size, residual, kind, rms``; the residual of a bound is its expected value."""
    import pandas as pd

    frames = [
        pd.DataFrame(
            {
                "sparsity": sparsity_of(fit.group),
                "batch_size": fit.batch_size,
                "residual": fit.residuals,
                "kind": ["measured" if high < float("inf") else "not reached" for high in fit.upper],
                "rms": fit.rms_log_residual,
            }
        )
        for fit in workload.fits
        if not math.isnan(fit.rms_log_residual)  # two rows lie on any curve: rounding is all that is left
    ]
    columns = ["sparsity", "batch_size", "residual", "kind", "rms"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel a sparsity, with a band of one standard deviation."""
    sparsities = sorted(frame["sparsity"].unique())
    figure, axes = panels(len(sparsities), 4, height=1.7, sharey=True)
    for index, (part, sparsity) in enumerate(zip(axes, sparsities, strict=True)):
        group = frame[frame["sparsity"] == sparsity]
        style = in_order(index, len(sparsities))
        part.axhline(0, color="black", linewidth=0.6)
        rms = group["rms"].iloc[0]
        part.axhspan(-rms, rms, color="#eeeeee", zorder=0)
        for kind, face in (("measured", style["color"]), ("not reached", "none")):
            rows = group[group["kind"] == kind]
            part.vlines(rows["batch_size"], 0, rows["residual"], color=style["color"], linewidth=0.8)
            part.plot(
                rows["batch_size"], rows["residual"], linestyle="none", mfc=face, color=style["color"],
                marker=style["marker"],
            )  # fmt: skip
        part.set_title(sparsity_label(sparsity))
        log_axis(part, "x", *positive_range(frame["batch_size"]))
        part.set_xlabel("batch size B")
    axes[0].set_ylabel("log K* − log fit")
    return figure
