"""Figure 12: steps of sparse networks over those of their dense twins, by batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit.fitting.claims import PAPER_RANGE
from sparsefit.report.material import Material, Workload, sparsity_of
from sparsefit.report.style import in_order, legend_below, legible, log_axis, panels, positive_range

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = ["workload", "sparsity", "kind", "batch_size", "ratio", "low", "high"]


def gather(material: Material) -> pd.DataFrame:
    """Return measured and fitted ratios of every sparse group with a dense twin.

    Returns
    -------
    DataFrame
        Columns ``workload, sparsity, kind, batch_size, ratio, low, high``. For kind ``measured`` the ends are
        those that the evaluation intervals allow; for ``fit`` they are the interval of the ratio of the two
        curves, from the distances between value and end of each on the log scale.
    """
    import pandas as pd

    frames = [frame for workload in material.workloads for frame in (measured(workload), fitted(workload))]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)


def measured(workload: Workload) -> pd.DataFrame:
    """Return the ratios of studies that reached the goal; of replicates, the geometric mean."""
    steps = workload.steps[~workload.steps["censored"]]
    steps = steps.assign(low=steps["steps"] - steps["eval_interval"].fillna(0.0))
    logs = steps.assign(steps=np.log(steps["steps"]), low=np.log(steps["low"].clip(lower=0.5)))
    means = logs.groupby(["sparsity", "batch_size"], as_index=False)[["steps", "low"]].mean()
    means[["steps", "low"]] = np.exp(means[["steps", "low"]].to_numpy())
    both = means[means["sparsity"] > 0].merge(
        means[means["sparsity"] == 0], on="batch_size", suffixes=("", "_dense")
    )
    return both.assign(
        workload=workload.name,
        kind="measured",
        ratio=both["steps"] / both["steps_dense"],
        low=both["low"] / both["steps_dense"],
        high=both["steps"] / both["low_dense"],
    ).reindex(columns=COLUMNS)


def fitted(workload: Workload) -> pd.DataFrame:
    """Return the ratio of the curve of each sparsity to the dense one, with its interval."""
    import pandas as pd

    found = []
    dense = next((fit for fit in workload.fits if sparsity_of(fit.group) == 0), None)
    for fit in workload.fits:
        if dense is None or fit is dense:
            continue
        first = max(fit.batch_size_range[0], dense.batch_size_range[0])
        last = min(fit.batch_size_range[1], dense.batch_size_range[1])
        if first >= last:
            continue
        sizes = np.geomspace(first, last, 40)
        a, b = fit.predict(sizes), dense.predict(sizes)
        ratio = a.steps / b.steps
        down = np.hypot(np.log(a.steps / a.low), np.log(b.high / b.steps))
        up = np.hypot(np.log(a.high / a.steps), np.log(b.steps / b.low))
        columns = {
            "batch_size": sizes,
            "ratio": ratio,
            "low": ratio * np.exp(-down),
            "high": ratio * np.exp(up),
        }
        found.append(
            pd.DataFrame(
                {"workload": workload.name, "sparsity": sparsity_of(fit.group), "kind": "fit", **columns}
            )
        )
    return pd.concat(found) if found else pd.DataFrame(columns=COLUMNS)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel a workload, with the paper's range."""
    workloads = list(dict.fromkeys(frame["workload"]))
    sparsities = sorted(frame["sparsity"].unique())
    figure, axes = panels(len(workloads), 3, height=1.9, sharey=True)
    values = positive_range(frame["ratio"], PAPER_RANGE, 1.0)
    for part, workload in zip(axes, workloads, strict=True):
        group = frame[frame["workload"] == workload]
        low, high = PAPER_RANGE
        part.axhspan(low, high, color="#eeeeee", zorder=0, label=f"{low:g} to {high:g}")
        part.axhline(1, color="black", linewidth=0.6)
        for sparsity in sparsities:
            style = in_order(sparsities.index(sparsity), max(len(sparsities), 2))
            points = group[(group["sparsity"] == sparsity) & (group["kind"] == "measured")]
            fit = group[(group["sparsity"] == sparsity) & (group["kind"] == "fit")]
            color = style["color"]
            part.fill_between(fit["batch_size"], fit["low"], fit["high"], color=color, alpha=0.18, lw=0)
            part.plot(fit["batch_size"], fit["ratio"], color=color, linestyle=style["linestyle"])
            part.vlines(points["batch_size"], points["low"], points["high"], color=color, linewidth=0.8)
            style["linestyle"] = "none"
            part.plot(points["batch_size"], points["ratio"], **style, label=f"sparsity {sparsity:g}")
        part.set_title(legible(workload))
        log_axis(part, "x", *positive_range(group["batch_size"]))
        log_axis(part, "y", *values)
        part.set_xlabel("batch size B")
    for part in axes[::3]:
        part.set_ylabel("K* sparse / K* dense")
    legend_below(figure, axes)
    return figure
