"""Figure 2: optimizers compared at each sparsity, on the same data, network and goal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsefit.report.figures import scaling
from sparsefit.report.material import Material, Workload
from sparsefit.report.style import (
    in_kind,
    legend_below,
    legible,
    log_axis,
    panels,
    positive_range,
    sparsity_label,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def families(material: Material) -> list[list[Workload]]:
    """Return the workloads that differ in their optimizer (and in their name) only, two or more together."""
    found: dict[tuple[tuple[str, str], ...], list[Workload]] = {}
    for workload in material.workloads:
        rest = {k: v for k, v in workload.group.items() if k not in ("workload", "optimizer")}
        if "optimizer" in workload.group:
            found.setdefault(tuple(sorted(rest.items())), []).append(workload)
    return [family for family in found.values() if len({w.group["optimizer"] for w in family}) > 1]


def gather(family: list[Workload]) -> pd.DataFrame:
    """Return the rows of `scaling.gather` of several workloads, with the column ``optimizer``."""
    import pandas as pd

    frames = []
    names: list[str] = []
    for workload in family:
        name = str(workload.group["optimizer"])
        names.append(name if name not in names else f"{name}: {workload.name}")
        frames.append(scaling.gather(workload).assign(optimizer=names[-1]))
    return pd.concat(frames, ignore_index=True)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel a sparsity, a curve an optimizer."""
    sparsities, names = sorted(frame["sparsity"].unique()), list(dict.fromkeys(frame["optimizer"]))
    figure, axes = panels(len(sparsities), 4, height=2.0, sharey=True)
    for part, sparsity in zip(axes, sparsities, strict=True):
        for index, name in enumerate(names):
            group = frame[(frame["sparsity"] == sparsity) & (frame["optimizer"] == name)]
            scaling.add_rows(part, group, in_kind(index), legible(name), linear=False)
        part.set_title(sparsity_label(sparsity))
        log_axis(part, "x", *positive_range(frame["batch_size"]))
        log_axis(part, "y", *positive_range(frame["steps"]))
        part.set_xlabel("batch size B")
    for part in axes[::4]:
        part.set_ylabel("steps-to-result K*")
    scaling.add_legend(axes[-1], lost=bool((frame["kind"] == "not reached").any()), linear=False)
    legend_below(figure, axes)
    return figure
