"""Which figures a report has: each with its title, its words, its data, and why it may be missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sparsefit.report.figures import (
    cost,
    learning_rates,
    logs,
    optimizers,
    profiles,
    ratios,
    residuals,
    scaling,
    smoothness,
    trial_count,
    trials,
)
from sparsefit.report.material import Material, Workload

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NO_WIDTH = "No fit has more than the two rows that a curve of two parameters needs, so {}."
NO_TRIALS = (
    "This input has one row a study; the trials are in the file of the sweep, or in the table that "
    "sparsefit collect --trials writes."
)
NO_FIT = "No curve could be fitted: fewer than two batch sizes reached the goal."


@dataclass(frozen=True)
class Entry:
    """A figure of the report, drawn or explained.

    Attributes
    ----------
    name : str
        Stem of its files.
    title, caption : str
    gather : callable
        Returns the frame: what is drawn, and the content of the CSV file; empty if nothing can be drawn.
    draw : callable
        Makes the figure from the frame.
    reason : str
        What is said instead where the frame is empty.
    note : callable, optional
        Returns from the frame what the caption adds.
    """

    name: str
    title: str
    caption: str
    gather: Callable[[], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]
    reason: str = ""
    note: Callable[[pd.DataFrame], str] | None = None


def slug(text: str) -> str:
    """Return a part of a file name: short, lower case, of letters that every file system knows."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "workload"


def of_workload(workload: Workload, number: int) -> Iterator[Entry]:
    """Yield the figures of one workload."""
    stem = f"{number:02d}-{slug(workload.name)}"
    yield Entry(
        f"{stem}-figure-1-scaling",
        "Figure 1: data parallelism (in the paper also Figures 7 to 11)",
        "Points: the fewest steps in which a trial reached the goal; a line below one goes down to the goal "
        "check before. Curves: c1/B + c2 with its interval; a "
        "vertical tick marks c1/c2. Dotted: linear scaling. Right: each sparsity over its first point.",
        partial(scaling.gather, workload),
        scaling.draw,
        "No trial of any study reached the goal, so there is no steps-to-result.",
    )
    yield Entry(
        f"{stem}-residuals",
        "Residuals",
        "Logarithm of measured over fitted steps; the band is one standard deviation. An open marker "
        "is a study "
        "that did not reach the goal, at its expected value.",
        partial(residuals.gather, workload),
        residuals.draw,
        NO_WIDTH.format("there are no residuals") if workload.fits else NO_FIT,
    )
    yield Entry(
        f"{stem}-profiles",
        "Profile likelihoods",
        "The width of a curve at a height is the profile-likelihood interval at that confidence; its "
        "tip is the "
        "maximum. An arm that leaves the panel is an open end: the data give a limit on one side only.",
        partial(profiles.gather, workload),
        profiles.draw,
        NO_WIDTH.format("the likelihood has no width"),
    )
    searched = trials.others(workload)
    for other in searched:
        beside = "the steps to the goal" if other is None else other.replace("_", " ")
        yield Entry(
            f"{stem}-figure-3-trials-{slug(other or 'steps')}",
            f"Figure 3: all trials over learning rate and {beside} (in the paper also Figures 13 to 18)",
            "A panel a study, from the smallest batch size to the largest; axes are those that were "
            "searched. "
            "A trial that was stopped early counts as incomplete in the paper, which runs each to the end.",
            partial(trials.gather, workload, other),
            trials.draw,
            NO_TRIALS if workload.trials.empty else "The trials have no column of a learning rate.",
        )
    yield Entry(
        f"{stem}-figure-4-learning-rates",
        "Figure 4: learning rates by batch size",
        "The line joins the best learning rates. Trials that failed stand a little to the right.",
        partial(learning_rates.gather, workload),
        learning_rates.draw,
        NO_TRIALS if workload.trials.empty else "The trials have no column of a learning rate.",
    )
    yield Entry(
        f"{stem}-figure-6-training-logs",
        "Figure 6: training logs of the best trials",
        "Validation error at every goal check of the trial that needed the fewest steps.",
        partial(logs.gather, workload),
        logs.draw,
        "No training curves were kept; sparsefit sweep --full-curves keeps them, in the file of the sweep.",
    )
    yield Entry(
        f"{stem}-trial-count",
        "K*(n): steps-to-result by number of trials",
        "The best of the first n trials over the best of all, a line a batch size. Flat lines at the "
        "right say "
        "that more trials would change little.",
        partial(trial_count.gather, workload),
        trial_count.draw,
        NO_TRIALS if workload.trials.empty else "No trial reached the goal.",
    )
    yield Entry(
        f"{stem}-cost",
        "Cost, and what the devices of the sweep saved",
        "Left: examples trained on, against the paper's protocol, in which a trial that was stopped early "
        "would have gone on, at most to the last step. Right: validation examples that the goal checks of "
        "these trials looked at.",
        partial(cost.gather, workload),
        cost.draw,
        NO_TRIALS if workload.trials.empty else "The input does not record what trials cost.",
        cost.words,
    )


def across(material: Material) -> Iterator[Entry]:
    """Yield the figures that compare workloads, and those of decompositions."""
    families = optimizers.families(material)
    for number, family in enumerate(families, 1):
        names = ", ".join(workload.name for workload in family)
        yield Entry(
            f"figure-2-optimizers-{number}",
            "Figure 2: optimizers compared",
            f"The same data, network, schedule and goal: {names}.",
            partial(optimizers.gather, family),
            optimizers.draw,
        )
    if not families:
        yield missing(
            "figure-2-optimizers",
            "Figure 2: optimizers compared",
            optimizers.draw,
            "No two workloads differ in their optimizer only.",
        )
    yield Entry(
        "figure-12-ratios",
        "Figure 12: steps of sparse over dense networks",
        "Points: measured, with the range that evaluation every few steps leaves open. Curves: ratio "
        "of the fits "
        "with its interval. Band: the range that the paper reports for sparsity 0.9.",
        partial(ratios.gather, material),
        ratios.draw,
        "No sparse group has a dense group that agrees in all else, with a batch size in common.",
    )
    for number, (path, decomposition) in enumerate(material.decompositions.items(), 1):
        yield Entry(
            f"figure-5-smoothness-{number}-{slug(decomposition.workload)}",
            f"Figure 5: smoothness over training, {decomposition.workload}",
            "Local Lipschitz constant of the gradient along training, and the training loss of the "
            "same networks. "
            "Thick: mean over seeds.",
            partial(smoothness.gather, decomposition),
            smoothness.draw,
            f"{path} holds no measurements along training, only their summary.",
        )
    if not material.decompositions:
        yield missing(
            "figure-5-smoothness",
            "Figure 5: smoothness over training",
            smoothness.draw,
            "No decomposition was given; measure one with: sparsefit decompose --save FILE, and give it with "
            "--decomposition FILE.",
        )


def missing(name: str, title: str, draw: Callable[[pd.DataFrame], Figure], reason: str) -> Entry:
    """Return an entry without data."""
    return Entry(name, title, "", no_rows, draw, reason)


def no_rows() -> pd.DataFrame:
    """Return an empty frame."""
    import pandas as pd

    return pd.DataFrame()
