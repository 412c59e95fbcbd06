"""The claim that measured Δ, L and β predict the ratio of c1, sparse over dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sparsefit.fitting.claims import claim
from sparsefit.fitting.claims_sparsity import around, is_narrow, sparsity_of
from sparsefit.fitting.columns import value_of
from sparsefit.fitting.decomposition import Decomposition
from sparsefit.fitting.ratios import divide
from sparsefit.fitting.results import Ratio
from sparsefit.fitting.results_records import Estimate
from sparsefit.fitting.validation_records import Claim, Judgement
from sparsefit.quantity import Quantity

PREDICTED = {"c1": "c1", "c1_own_epsilon": "c1", "c2": "c2", "critical_batch_size": "critical_batch_size"}
"""Ratios that a decomposition predicts, and which fitted ratio each stands beside."""


def c1_ratio(
    ratios: Sequence[Ratio], decompositions: Sequence[Decomposition], confidence: float
) -> list[Claim]:
    """Judge the ratio of c1 that ΔLβ predicts against the fitted one, for every pair that both know.

    The intervals of a decomposition of another confidence are stretched to that of the fit.
    """
    return [
        compare(ratio, network.ratios, decomposition.confidence, confidence)
        for decomposition in decompositions
        for ratio in ratios
        for network in decomposition.sparse
        if is_of(ratio.group, decomposition.workload) and sparsity_of(ratio.group) == network.sparsity
    ]


def is_of(group: Mapping[str, Any], workload: str) -> bool:
    """Tell whether a group belongs to a workload; one that names none belongs to any."""
    own = value_of(group, "workload")
    return own is None or str(own).lower() == workload.lower()


def at_confidence(found: Quantity, own: float, wanted: float) -> Estimate:
    """Return a ratio with its interval at another confidence, open where that cannot be told.

    It is Student's t of the logarithm over n seeds, whose reach goes with the quantile.
    """
    if own == wanted or found.low is None or found.high is None:
        return Estimate(found.value, found.low, found.high)
    if found.n is None or found.n < 2 or found.low <= 0:
        return Estimate(found.value, None, None)
    stretch = stdtrit(found.n - 1, (1 + wanted) / 2) / stdtrit(found.n - 1, (1 + own) / 2)
    below, above = np.log(found.value / np.array([found.low, found.high])) * (stretch, -stretch)
    return Estimate(found.value, around(found.value, below).low, around(found.value, above).high)


def compare(ratio: Ratio, ratios: Mapping[str, Quantity], own: float, wanted: float) -> Claim:
    """Return the claim on one pair, from ratios with intervals of one confidence and a fit of another."""
    predicted = {name: at_confidence(ratios[name], own, wanted) for name in PREDICTED if name in ratios}
    guess = predicted["c1"]
    found = divide(guess, ratio.c1)
    verdict: Judgement = "cannot tell"
    said = f"Predicted {cell(guess)}, fitted {cell(ratio.c1)}."
    if guess.low is None and ratios["c1"].low is not None:
        reason = (
            f"{said} The prediction has an interval of {100 * own:g} % and no n, its seeds, which would tell "
            f"that of {100 * wanted:g} %; validate with --confidence {own:g}."
        )
    elif guess.low is None or guess.high is None:
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
            **{f"predicted_{end}": value for end, value in predicted[name].to_dict().items()},
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
