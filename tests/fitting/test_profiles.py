"""Profiles of a fit agree with its own intervals."""

import numpy as np
import pytest

from sparsefit.fitting.fit import fit_curve
from sparsefit.fitting.profiles import profile


@pytest.mark.parametrize("interval", [None, 16.0])
def test_interval_at_the_confidence_of_the_fit_is_that_of_the_fit(interval):
    size = 2.0 ** np.arange(2, 13)
    steps = np.ceil((20_000 / size + 150) * np.exp(0.05 * np.sin(7 * np.arange(11))) / 16) * 16
    fit = fit_curve(size, steps, eval_interval=interval, confidence=0.95)
    found = profile(fit).set_index(["parameter", "confidence"])
    for name, estimate in (("c1", fit.c1), ("c2", fit.c2), ("c1/c2", fit.critical_batch_size)):
        low, high = found.loc[(name, 0.95)]
        # the same scan gives both; the rest is rounding
        assert [low, high] == pytest.approx([estimate.low, estimate.high], rel=1e-9)
        assert found.loc[(name, 0.0), "low"] == pytest.approx(estimate.value)
        widths = found.loc[name, "high"] - found.loc[name, "low"]
        assert widths.is_monotonic_increasing
