"""Profile likelihoods: the interval of each parameter at every confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit.fitting.profiles import profile
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
    from matplotlib.figure import Figure

UNITS = {"c1": "c1 (batch size × steps)", "c2": "c2 (steps)", "c1/c2": "c1/c2 (batch size)"}
DRAWN = 16.0
"""Factor to each side of the 50 % intervals past which nothing is drawn."""


def gather(workload: Workload) -> pd.DataFrame:
    """Return ``sparsity, parameter, confidence, low, high`` of every fit that has a region."""
    import pandas as pd

    frames = [
        profile(fit).assign(sparsity=sparsity_of(fit.group))
        for fit in workload.fits
        if fit.region is not None
    ]
    columns = ["sparsity", "parameter", "confidence", "low", "high"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel a parameter; a curve's width at a height is the interval at that confidence."""
    figure = new_figure(2.3)
    axes = figure.subplots(1, 3, sharey=True)
    sparsities = sorted(frame["sparsity"].unique())
    for part, (name, words) in zip(axes, UNITS.items(), strict=True):
        chosen = frame[frame["parameter"] == name]
        half = chosen[chosen["confidence"] <= 0.5]
        low, high = positive_range(half["low"], half["high"])
        inside = chosen[["low", "high"]].clip(low / DRAWN, high * DRAWN)
        log_axis(part, "x", *positive_range(inside.to_numpy()), base=2 if name == "c1/c2" else 10)
        for index, sparsity in enumerate(sparsities):
            rows = (chosen["sparsity"] == sparsity).to_numpy()
            ends, level = inside[rows], chosen.loc[rows, "confidence"].to_numpy()
            x = np.concatenate([ends["low"].to_numpy()[::-1], ends["high"].to_numpy()])
            y = 100 * np.concatenate([level[::-1], level])
            part.plot(
                x, y, **in_order(index, len(sparsities)), label=sparsity_label(sparsity), markersize=2.4
            )
        part.axhline(95, color="black", linewidth=0.6, linestyle=":")
        part.set_xlabel(words)
    axes[0].set_ylabel("confidence of the interval (%)")
    axes[0].set_yticks([0, 50, 80, 95])
    legend_below(figure, list(axes))
    return figure
