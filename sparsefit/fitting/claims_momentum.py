"""The claim that momentum makes the critical batch size larger, for groups that differ in the optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparsefit.fitting.claims import claim
from sparsefit.fitting.columns import normalise, value_of
from sparsefit.fitting.ratios import divide
from sparsefit.fitting.results import CurveFit
from sparsefit.fitting.validation_records import Claim, Judgement

OPTIMIZER = ("optimizer", "optimiser")
WITH_MOMENTUM = ("momentum", "nesterov")
PLAIN = ("sgd", "gd", "gradientdescent", "gradient_descent")


def critical_batch_size_momentum(fits: Sequence[CurveFit]) -> list[Claim]:
    """Judge every pair of groups that differ in nothing but an optimizer with and without momentum."""
    return [
        compare(fit, plain)
        for fit in fits
        for plain in fits
        if optimizer(fit.group) in WITH_MOMENTUM
        and optimizer(plain.group) in PLAIN
        and setting(fit.group) == setting(plain.group)
    ]


def optimizer(group: Mapping[str, Any]) -> str:
    """Return the optimizer of a group in lower case, "" where none is named."""
    return str(value_of(group, *OPTIMIZER) or "").strip().lower()


def setting(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two groups must share.

    A workload's name may differ, since it names the optimizer too, where the data set is named beside it.
    """
    names = {normalise(name) for name in group}
    skipped = {*OPTIMIZER, *(("workload",) if names & {"dataset", "data_set"} else ())}
    return {name: value for name, value in group.items() if normalise(name) not in skipped}


def compare(fit: CurveFit, plain: CurveFit) -> Claim:
    """Return the claim on one pair."""
    found = divide(fit.critical_batch_size, plain.critical_batch_size)
    verdict: Judgement = "cannot tell"
    reason = "The interval of the ratio allows both a smaller and a larger one."
    if found.high is not None and found.high < 1:
        verdict, reason = "fails", f"It is smaller: {found.high:.3g} times that without momentum at most."
    elif found.low is not None and found.low > 1:
        verdict, reason = "holds", f"It is at least {found.low:.3g} times that without momentum."
    return claim(
        "critical_batch_size_momentum",
        verdict,
        reason,
        found,
        group=fit.group,
        reference=plain.group,
    )
