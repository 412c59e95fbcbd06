"""The figure of ``fit --plot``: names of groups are text, whatever is in them."""

import pandas as pd
import pytest

import sparsefit
from sparsefit.report.figures.fit import draw, picture
from sparsefit.report.style import render

SIZES = [2**k for k in range(1, 11)]


def fits(names, column="model"):
    return sparsefit.fit(
        pd.concat(
            pd.DataFrame({column: name, "batch_size": SIZES, "steps": [c1 // b + 90 for b in SIZES]})
            for name, c1 in zip(names, (9_000, 30_000), strict=True)
        ),
        by=[column],
    )


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_what_looks_like_a_formula_is_drawn_as_text(kind):
    assert draw(fits(["$\\frac{1}$", "$x_$"]), kind) == draw(fits(["$\\frac{1}$", "$x_$"]), kind)


def test_a_name_that_begins_with_an_underscore_is_in_the_legend():
    result = fits(["a", "b"], column="_model")
    left, right = picture(result.fits).axes
    assert [text.get_text().strip() for text in left.get_legend().get_texts()] == ["_model a", "_model b"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["linear scaling", "c1/c2"]


def test_a_row_that_did_not_reach_the_goal_is_an_arrow_that_the_legend_explains():
    table = pd.DataFrame({"batch_size": SIZES, "steps": [9_000 // b + 90 for b in SIZES]})
    table["max_steps"] = 3_000
    table.loc[table["steps"] > 3_000, "steps"] = -1
    _, right = picture(sparsefit.fit(table).fits).axes
    assert right.get_legend().get_texts()[-1].get_text() == "K* above"


def test_right_panel_is_in_units_of_the_first_batch_size_of_each_group():
    _, right = picture(fits(["a", "b"]).fits).axes
    curves = [line.get_xydata() for line in right.lines if len(line.get_xdata()) > 2]
    assert all(tuple(curve[0]) == pytest.approx((1, 1), abs=0.1) for curve in curves)
    assert render(lambda result: picture(result.fits), fits(["a", "b"])).svg.startswith(b"<?xml")
