"""The claims in words, each with its number and its test; docs/math.md derives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sparsefit.fitting.results_records import LEVEL, UNKNOWN, Estimate
from sparsefit.fitting.validation_records import Claim, Judgement
from sparsefit.fitting.verdict import LIMITS, LOW_POWER, SOFTER

NO_SMALLER = 0.8
"""A critical batch size of this share of another one, or more, counts as no smaller."""

WIDEST = 2.0
"""Factor to each side by which an interval may reach, for what it holds to count as agreement."""

PAPER_SPARSITY, PAPER_RANGE = 0.9, (1.5, 4.5)
"""Range of K* sparse over dense at this sparsity over all workloads of the paper (Figure 12)."""

MISPLACED = 0.05
"""Share of trials that a boundary may leave on the wrong side."""

TREND_RANGES = {"power_plateau": (0.8, 1 / 0.8), "smooth_knee": (SOFTER, 1 / SOFTER)}
"""Exponents of c1/B^a + c2 and sharpnesses of the knee that count as the shape of c1/B + c2."""


class Description(NamedTuple):
    """What a claim says, what its number is, and how the number is judged."""

    statement: str
    label: str
    test: str


CATALOGUE: dict[str, Description] = {
    "hyperbola": Description(
        "K* = c1/B + c2 describes the steps, and no alternative does it better",
        "AICc of the best alternative less that of the curve",
        f"Fails at -{LIMITS['smooth_knee']:.0f} or less for c1/B^a + c2 and the smooth knee, at "
        f"-{LIMITS['power']:.0f} or less for c1/B^a, max(c1/B, c2) and the envelope. Holds if not, if a knee "
        f"of sharpness {SOFTER} would fail in at least {LOW_POWER:.0%} of cases. p: F test of the third "
        "parameter, doubled for two alternatives.",
    ),
    "universal_trend": Description(
        "One trend describes all curves, and it is c1/B + c2",
        "exponent a of c1/B^a + c2 shared by all curves",
        "Exponent a and sharpness p of the knee, shared and of each curve alone, against 1 (Student's t, "
        f"p-values times their number): fails under p = {LEVEL:g}. Holds otherwise, if the shared intervals "
        f"lie in {TREND_RANGES['power_plateau'][0]:g} to {TREND_RANGES['power_plateau'][1]:g} and "
        f"{SOFTER:g} to {1 / SOFTER:.3g}, and none of a single curve lies outside.",
    ),
    "lack_of_fit": Description(
        "The curve misses the means of replicates by no more than their scatter allows",
        "F of lack of fit over pure error",
        f"F test; fails under p = {LEVEL:g}.",
    ),
    "scaling_prediction": Description(
        "2^r times the batch size takes K*/2^r + (1 - 2^-r) c2 steps, also where it was not fitted",
        "share of held-out rows inside their prediction interval",
        f"Chow's F test of the rows held out against those fitted; fails under p = {LEVEL:g}. Holds "
        f"otherwise, if more than half lie inside and no interval reaches a factor {WIDEST:g} to a side.",
    ),
    "regimes": Description(
        "Linear scaling, then diminishing returns, then maximal data parallelism",
        "batch size at which linear scaling ends, 0.2 c1/c2",
        "Holds if measured batch sizes lie in each regime even at the ends of the interval of c1/c2. Fails "
        "if the slope of log K in the linear or the flat regime lies outside what the regime allows.",
    ),
    "shared_shape": Description(
        "Sparsity multiplies the whole curve by one factor: c1/c2 is shared with the dense network",
        "c1/c2, sparse over dense",
        f"Likelihood-ratio test of a shared c1/c2 on the scale of F; fails under p = {LEVEL:g}. Holds "
        f"otherwise, if the interval of the ratio reaches less than a factor {WIDEST:g} to each side.",
    ),
    "sparse_over_dense": Description(
        f"Sparse training takes more steps at every batch size: {PAPER_RANGE[0]:g} to {PAPER_RANGE[1]:g} "
        f"times as many at sparsity {PAPER_SPARSITY:g}, more than 1 at others",
        "K* sparse over dense, geometric mean over batch sizes",
        "Fails if the interval at some batch size, widened for their number, lies outside the range. Holds "
        "otherwise, if the interval of the mean lies inside.",
    ),
    "critical_batch_size_sparse": Description(
        "The critical batch size of the sparse network is no smaller than that of the dense one",
        "c1/c2, sparse over dense",
        f"Fails if the interval lies below 1, holds if it lies above {NO_SMALLER:g}.",
    ),
    "critical_batch_size_momentum": Description(
        "The critical batch size is larger with momentum than without",
        "c1/c2, with momentum over without",
        "Fails if the interval lies below 1, holds if it lies above 1.",
    ),
    "c1_ratio": Description(
        "ΔLβ predicts the ratio of c1, sparse over dense",
        "predicted ratio of c1 over the fitted one",
        "Fails if the interval excludes 1, holds if it includes 1 and reaches less than a factor "
        f"{WIDEST:g} to each side.",
    ),
    "learning_rate_grows": Description(
        "The best learning rate grows with the batch size",
        "slope of its logarithm on that of the batch size",
        "Student's t interval of the slope: fails if it lies below 0, holds if it lies above.",
    ),
    "learning_rate_inside": Description(
        "The best learning rate lies inside the search range, not at its edge",
        "share of batch sizes for which it does",
        "Fails if one lies within 5 % of an end of the range of learning rates tried, on the log scale.",
    ),
    "learning_rate_range": Description(
        "The range of learning rates that reach the goal is narrower in the sparse network",
        "decades, sparse less dense, mean over batch sizes",
        "Compared with changes in which trials at random swap their dense and sparse outcome: with p below "
        "1 - confidence it holds if the range is narrower, fails if it is wider.",
    ),
    "metaparameter_boundary": Description(
        "A line over log(learning rate) and log(1 - momentum) separates complete from incomplete trials",
        "share of trials on the wrong side of the best line",
        f"Fails if it is above {MISPLACED:.0%} by the binomial test at {LEVEL:g}. Holds if it is not above, "
        f"and lines do as well for less than {LEVEL:.0%} of random orders of the outcomes.",
    ),
}
"""Every claim, in the order of the page."""


def claim(
    name: str,
    verdict: Judgement,
    reason: str,
    number: Estimate = UNKNOWN,
    *,
    group: Mapping[str, Any] | None = None,
    reference: Mapping[str, Any] | None = None,
    p_value: float | None = None,
    details: Iterable[Mapping[str, Any]] = (),
) -> Claim:
    """Return a claim of the catalogue with its verdict."""
    words = CATALOGUE[name]
    return Claim(
        name=name,
        statement=words.statement,
        verdict=verdict,
        value=number.value,
        low=number.low,
        high=number.high,
        label=words.label,
        test=words.test,
        reason=reason,
        group=dict(group or {}),
        reference=reference,
        p_value=p_value,
        details=tuple(details),
    )
