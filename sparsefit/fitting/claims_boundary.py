"""A claim about the search: a straight line separates complete from incomplete trials (Figure 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsefit.fitting.claims import MISPLACED, claim
from sparsefit.fitting.claims_search import Search
from sparsefit.fitting.curves import Array
from sparsefit.fitting.results_records import LEVEL, Estimate
from sparsefit.fitting.validation_records import Claim, Judgement

ANGLES = 90
"""Directions of lines that are tried, two degrees apart."""

PERMUTATIONS = 299
SEED = 0

SAME = 1e-9
"""Least distance between points that a line can pass between; the range tried is 1."""

FEWEST = 3
"""Complete, and incomplete, trials that a batch size must have."""

NEEDS_MOMENTUM = "The table has no column of momentum between 0 and 1."


class Line(NamedTuple):
    """The best line of one batch size.

    ``exponent`` is that of 1 - momentum, to which the learning rate on the line is proportional: 1 for a
    constant η/(1 - momentum), 0 where the learning rate alone decides; None for momentum alone.
    """

    misplaced: int
    exponent: float | None
    alone: int
    chance: NDArray[np.int64]


def metaparameter_boundary(search: Search, group: Mapping[str, Any]) -> Claim:
    """Judge how few trials a straight line over both metaparameters leaves on the wrong side.

    The line is drawn over log(learning rate) and log(1 - momentum), one a batch size, between the trials that
    reached the goal and those that did not within the budget; trials that diverged are left out, and so is a
    batch size with capped trials.
    """
    name = "metaparameter_boundary"
    missing = search.lacks(group) or (NEEDS_MOMENTUM if search.momentum is None else None)
    if missing:
        return claim(name, "cannot tell", missing, group=group)
    rows: list[dict[str, Any]] = []
    lines: list[Line] = []
    capped = 0
    every = search.of(group).sort_values(["rate", "momentum"])  # what chance leaves depends on their order
    again = every.groupby(["batch_size", "trial"]).cumcount()
    every["number"] = every.assign(again=again).groupby(["trial", "again"], sort=False).ngroup()
    numbers = np.arange(every["number"].nunique())
    orders = np.random.default_rng(SEED).permuted(np.tile(numbers, (PERMUTATIONS, 1)), axis=1)
    for size, trials in every.groupby("batch_size"):
        trials = trials[trials["momentum"].notna()]
        if (trials["status"] == "capped").any():
            capped += 1
            continue
        trials = trials[trials["status"].isin(["reached", "not_reached"])]
        complete = (trials["status"] == "reached").to_numpy()
        if FEWEST <= complete.sum() <= len(complete) - FEWEST:
            places = np.log10([trials["rate"], 1 - trials["momentum"]])
            line = best_line(places, complete, restrict(orders, trials["number"].to_numpy()))
            lines.append(line)
            rows.append(
                {
                    "batch_size": size,
                    "trials": len(trials),
                    "complete": int(complete.sum()),
                    "misplaced": line.misplaced,
                    "misplaced_alone": line.alone,
                    "exponent": line.exponent,
                }
            )
    if not rows:
        reason = f"No batch size has {FEWEST} complete and {FEWEST} incomplete trials"
        reason += f"; {capped} have trials that were capped: sweep with --no-cap" if capped else ""
        return claim(name, "cannot tell", f"{reason}.", group=group)
    return judge(name, group, rows, lines)


def judge(name: str, group: Mapping[str, Any], rows: list[dict[str, Any]], lines: list[Line]) -> Claim:
    """Judge the trials on the wrong side, of all batch sizes together."""
    from scipy.stats import binom

    trials, misplaced = (sum(row[key] for row in rows) for key in ("trials", "misplaced"))
    alone = sum(line.alone for line in lines)
    chance = np.sum([line.chance for line in lines], axis=0)
    by_chance = float((1 + (chance <= misplaced).sum()) / (1 + len(chance)))
    verdict: Judgement = "cannot tell"
    if float(binom.sf(misplaced - 1, trials, MISPLACED)) < LEVEL:
        verdict = "fails"
    elif by_chance < LEVEL and misplaced <= MISPLACED * trials:
        verdict = "holds"
    exponents = [f"{row['exponent']:.2g}" for row in rows if row["exponent"] is not None]
    reason = (
        f"Lines leave {misplaced} of {trials} trials on the wrong side, limits on one metaparameter {alone}"
    )
    reason += f"; chance leaves {np.median(chance):g}"
    if exponents:
        reason += f"; on the lines η is as (1 - momentum)^{', '.join(exponents)}"
    number = Estimate(misplaced / trials, None, None)
    return claim(name, verdict, f"{reason}.", number, group=group, p_value=by_chance, details=rows)


def restrict(orders: NDArray[np.int64], present: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return random orders of the trials that are present, as like those of all trials as can be.

    A trial takes the place of the first one present that the order of all leads to, so that two batch sizes
    which differ in one trial have almost the same orders: outcomes are alike at neighbouring batch sizes.

    Parameters
    ----------
    orders : ndarray of int, shape (m, n)
        A permutation of all n trials in each row.
    present : ndarray of int, shape (k,)

    Returns
    -------
    ndarray of int, shape (m, k)
        A permutation of 0 ... k - 1 in each row.
    """
    place = np.full(orders.shape[1], -1)
    place[present] = np.arange(len(present))
    to = orders[:, present]
    while (place[to] < 0).any():
        to = np.where(place[to] < 0, np.take_along_axis(orders, to, axis=1), to)
    return place[to]


def best_line(places: Array, complete: NDArray[np.bool_], orders: NDArray[np.int64]) -> Line:
    """Return the line with the fewest points on the wrong side; of several, that with the widest gap.

    Parameters
    ----------
    places : ndarray, shape (2, n)
        log10 of the learning rate and of 1 - momentum.
    complete : ndarray of bool, shape (n,)
    orders : ndarray of int, shape (m, n)
        Random orders of the outcomes, to see what chance leaves.
    """
    low, high = places.min(axis=1, keepdims=True), places.max(axis=1, keepdims=True)
    width = np.where(high > low, high - low, 1.0)
    angles = np.linspace(0, np.pi, ANGLES, endpoint=False)
    along = np.column_stack([np.cos(angles), np.sin(angles)]) @ ((places - low) / width)
    order = along.argsort(axis=1)
    gaps = np.diff(np.take_along_axis(along, order, axis=1), axis=1)
    gaps = np.pad(np.where(gaps > SAME, gaps, np.nan), ((0, 0), (1, 1)))
    mistakes = wrong(complete[order], gaps)
    shuffled = complete[orders]
    chance = np.full(len(orders), len(complete))
    for row, gap in zip(order, gaps, strict=True):
        np.minimum(chance, wrong(shuffled[:, row], gap).min(axis=1), out=chance)
    fewest = int(mistakes.min())
    angle = int(np.where(mistakes == fewest, gaps, -1.0).max(axis=1).argmax())
    straight = np.cos(angles[angle])
    exponent = -float(np.tan(angles[angle]) * width[0, 0] / width[1, 0]) if abs(straight) > 1e-9 else None
    alone = int(mistakes[[0, ANGLES // 2]].min())
    return Line(fewest, exponent, alone, chance)


def wrong(ordered: NDArray[np.bool_], gaps: Array) -> NDArray[np.int64]:
    """Return how many points each cut leaves on the wrong side: (..., n) points in a row have n + 1 cuts.

    Where the gap is NaN no line can pass, and all points are counted.
    """
    n = ordered.shape[-1]
    below = np.zeros((*ordered.shape[:-1], n + 1), dtype=np.int64)
    np.cumsum(ordered, axis=-1, out=below[..., 1:])
    # Complete ones below the cut and incomplete ones above it; or the other way round.
    mistakes = 2 * below + n - np.arange(n + 1) - below[..., -1:]
    return np.where(np.isnan(gaps), n, np.minimum(mistakes, n - mistakes))
