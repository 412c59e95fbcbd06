"""Figures of trials over the metaparameters."""

import numpy as np
import pytest

from sparsefit.report.figures.trials import APART, on_scale, ticks

RANGES = [
    (1e-4, 1e-1, "LOG_SCALE", ["10⁻⁴", "10⁻²"]),
    (0.9194, 0.999846, "REVERSE_LOG_SCALE", ["0.99", "0.999"]),
    (0.9, 0.9998, "REVERSE_LOG_SCALE", ["0.9", "0.99", "0.999"]),
    (0.9966, 0.99981, "REVERSE_LOG_SCALE", ["0.9966", "0.99981"]),  # one power of ten: the ends
    # None, and three digits would give 0.999 and 1.
    (0.9994, 0.99988, "REVERSE_LOG_SCALE", ["0.99940", "0.99988"]),
    (0.919, 0.99989, "REVERSE_LOG_SCALE", ["0.99", "0.999"]),
    (256, 8784, "LOG_SCALE", ["256", "8780"]),
    (0.0, 0.99, "LINEAR_SCALE", ["0", "0.99"]),
]


@pytest.mark.parametrize(("low", "high", "scale", "words"), RANGES)
def test_ticks_are_few_lie_apart_and_name_their_values(low, high, scale, words):
    at, found = ticks(low, high, scale)
    assert found == words
    assert all(np.diff(at) >= APART)
    if found[0][0] == "0":
        share = (on_scale([float(word) for word in found], scale) - on_scale(low, scale)) / (
            on_scale(high, scale) - on_scale(low, scale)
        )
        assert at == pytest.approx(share, abs=0.01)  # words are rounded
