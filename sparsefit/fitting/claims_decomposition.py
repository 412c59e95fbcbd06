"""The claim that measured Δ, L and β predict the ratio of c1, sparse over dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsefit.fitting.claims import claim
from sparsefit.fitting.claims_sparsity import is_narrow, sparsity_of
from sparsefit.fitting.columns import value_of
from sparsefit.fitting.decomposition import Decomposition
from sparsefit.fitting.ratios import divide
from sparsefit.fitting.results import Ratio
from sparsefit.fitting.results_records import Estimate
from sparsefit.fitting.validation_records import Claim, Judgement
from sparsefit.quantity import Quantity

PREDICTED = {"c1": "c1", "c1_own_epsilon": "c1", "c2": "c2", "critical_batch_size": "critical_batch_size"}
"""Ratios that a decomposition predicts, and which fitted ratio each stands beside."""


def c1_ratio(ratios: Sequence[Ratio], decompositions: Sequence[Decomposition]) -> list[Claim]:
    """Judge the ratio of c1 that ΔLβ predicts against the fitted one, for every pair that both know."""
    return [
        compare(ratio, network.ratios)
        for decomposition in decompositions
        for ratio in ratios
        for network in decomposition.sparse
        if is_of(ratio.group, decomposition.workload) and sparsity_of(ratio.group) == network.sparsity
    ]


def is_of(group: Mapping[str, Any], workload: str) -> bool:
    """Tell whether a group belongs to a workload; one that names none belongs to any."""
    own = value_of(group, "workload")
    return own is None or str(own).lower() == workload.lower()


def compare(ratio: Ratio, predicted: Mapping[str, Quantity]) -> Claim:
    """Return the claim on one pair."""
    guess = Estimate(predicted["c1"].value, predicted["c1"].low, predicted["c1"].high)
    found = divide(guess, ratio.c1)
    verdict: Judgement = "cannot tell"
    said = f"Predicted {cell(guess)}, fitted {cell(ratio.c1)}."
    if guess.low is None or guess.high is None:
        reason = f"{said} The prediction has no interval; measure it on several seeds."
    elif ratio.c1.value is None:
        reason = f"{said} c1 of one of the two groups is not determined."
    elif (found.low or 0) > 1 or (found.high or np.inf) < 1:
        verdict, reason = "fails", f"{said} The intervals exclude that they are equal."
    elif is_narrow(found):
        verdict, reason = "holds", f"{said} They agree within their intervals."
    else:
        reason = f"{said} The intervals are too wide to call that agreement."
    rows = [
        {
            "ratio": name,
            **{f"predicted_{end}": getattr(predicted[name], end) for end in ("value", "low", "high")},
            **{f"fitted_{end}": value for end, value in getattr(ratio, fitted).to_dict().items()},
        }
        for name, fitted in PREDICTED.items()
        if name in predicted
    ]
    return claim(
        "c1_ratio",
        verdict,
        reason,
        found,
        group=ratio.group,
        reference=ratio.reference,
        details=rows,
    )


def cell(found: Estimate) -> str:
    """Return a number with its interval in words."""
    low = "0" if found.low is None else f"{found.low:.3g}"
    high = "∞" if found.high is None else f"{found.high:.3g}"
    if found.value is None:
        return f"{low} to {high}"
    return f"{found.value:.3g}" + ("" if (low, high) == ("0", "∞") else f" [{low}, {high}]")
