"""Figure 5 on the axis that shows its numbers."""

import pandas as pd
import pytest

from sparsefit.report.figures.smoothness import draw


@pytest.mark.parametrize(("first", "scale"), [(120.0, "log"), (5.0, "linear")])
def test_numbers_that_span_more_than_a_decade_get_a_logarithmic_axis(first, scale):
    frame = pd.DataFrame(
        {"sparsity": 0.0, "seed": 0, "step": [0, 200], "smoothness": [first, 2.0], "loss": [2.5, 0.5]}
    )
    smoothness, loss = draw(frame).axes
    assert (smoothness.get_yscale(), loss.get_yscale()) == (scale, "linear")
    assert all(
        "$" not in label.get_text() for label in smoothness.get_yticklabels()
    )  # no formulas in reports
