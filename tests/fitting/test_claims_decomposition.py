"""The claim on the ratio of c1: intervals of a decomposition and of a fit of another confidence."""

import numpy as np
import pytest

from sparsefit.fitting.claims_decomposition import c1_ratio
from sparsefit.fitting.decomposition import Decomposition, Network
from sparsefit.fitting.results import Ratio, SharedShape
from sparsefit.fitting.results_records import Estimate
from sparsefit.quantity import Quantity, geometric_mean

SEEDS = [1.8, 2.1, 2.4]
FITTED = Estimate(2.0, 1.7, 2.4)
RATIO = Ratio(
    {"sparsity": 0.9},
    {"sparsity": 0.0},
    FITTED,
    FITTED,
    FITTED,
    SharedShape(None, None, 1, None, None, None, "undetermined"),
)


def judged(found, own, wanted=0.95):
    network = Network(0.9, {}, {"c1": found})
    decomposition = Decomposition("w", (0, 1, 2), Network(0.0, {}), (network,), confidence=own)
    return c1_ratio([RATIO], [decomposition], wanted)[0]


@pytest.mark.parametrize("own", [0.5, 0.9, 0.99])
def test_interval_of_another_confidence_is_stretched_to_that_of_the_fit(own):
    claim, same = judged(geometric_mean(SEEDS, own), own), judged(geometric_mean(SEEDS, 0.95), 0.95)
    assert (claim.value, claim.low, claim.high) == pytest.approx((same.value, same.low, same.high))
    assert claim.verdict == same.verdict
    details = [claim.details[0][f"predicted_{end}"] for end in ("value", "low", "high")]
    expected = geometric_mean(SEEDS, 0.95)
    assert details == pytest.approx([expected.value, expected.low, expected.high])


def test_interval_that_cannot_be_stretched_is_not_judged():
    claim = judged(Quantity(2.0, 1.9, 2.1), 0.9)
    assert claim.verdict == "cannot tell"
    assert "--confidence 0.9" in claim.reason
    assert judged(Quantity(2.0, 1.9, 2.1), 0.95).verdict == "holds"


def test_stretched_far_it_is_open():
    claim = judged(Quantity(2.0, 1e-200, 1e200, 2), 0.5, 1 - 1e-9)
    assert claim.verdict == "cannot tell"
    assert np.isfinite(claim.value)


def test_prediction_of_one_seed_has_no_interval():
    assert "measure it on several seeds" in judged(Quantity(2.0, n=1), 0.9).reason
