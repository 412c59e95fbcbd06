"""What the terminal shows of a fit."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import sparsefit
from sparsefit.fitting.results_records import Estimate
from sparsefit.report.figures.fit import LINE, draw, name_groups
from sparsefit.report.fit_table import render
from sparsefit.report.terminal import cell, digits, show

SIZES = 2.0 ** np.arange(1, 13)


def curve(c1, c2, seed, sizes=SIZES):
    noise = np.random.default_rng(seed).normal(0, 0.03, len(sizes))
    return np.round((c1 / sizes + c2) * np.exp(noise))


def table(groups):
    parts = [
        pd.DataFrame({**group, "batch_size": SIZES, "steps": curve(c1, c2, seed)})
        for seed, (group, c1, c2) in enumerate(groups)
    ]
    return pd.concat(parts)


def text_of(result, width=60):
    stream = io.StringIO()
    show(Console(file=stream, width=width), render(result))
    return stream.getvalue()


@pytest.fixture(scope="module")
def sparse():
    groups = [({"task": "t", "sparsity": s}, 50_000 * (1 + s), 200) for s in (0.0, 0.5)]
    return sparsefit.fit(table(groups))


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.5, "0.500"), (174, "174"), (17519, "17,519"), (2.5e-5, "2.50e-05")]
)
def test_three_digits_without_an_exponent_where_that_reads_well(value, shown):
    assert digits(value) == shown


def test_a_slope_of_nothing_has_an_interval_around_0():
    assert cell(Estimate(0.0, -0.157, 0.157)) == "0 [-0.157, 0.157]"


def test_piped_output_has_no_escape_codes_and_is_not_cut(sparse):
    said = text_of(sparse, width=30)
    assert "\x1b" not in said
    assert "…" not in said


def test_columns_that_grouped_and_were_ignored_are_named():
    rows = table([({"model": "a", "note": range(12)}, 50_000, 200)])
    said = text_of(sparsefit.fit(rows), width=200)
    assert "B = batch_size, K* = steps; grouped by model; ignored note" in said


def test_every_number_of_the_fit_is_shown(sparse):
    said = text_of(sparse)
    for word in ("c1/c2", "verdict", "linear scaling", "diminishing returns", "maximal data parallelism"):
        assert word in said
    for word in ("ΔAICc", "smooth knee", "rms log residual", "one factor on the whole curve"):
        assert word in said


def test_ratio_to_dense_is_shown_with_its_interval(sparse):
    row = text_of(sparse, width=200).split("sparse / dense")[1].splitlines()[1]
    value = float(re.match(r"0\.5 +([\d.]+) \[[\d.]+, [\d.]+\]", row)[1])
    assert value == pytest.approx(sparse.ratios[0].c1.value, abs=0.005)  # two decimals are printed


def test_forty_groups_give_forty_rows_in_the_order_of_the_table():
    result = sparsefit.fit(table([({"model": f"m{i:02d}"}, 50_000, 200) for i in range(40)]))
    first = text_of(result).split("\n\n")[1].splitlines()[1:]
    assert [line.split()[0] for line in first] == [f"m{i:02d}" for i in range(40)]
    assert draw(result, "png").startswith(b"\x89PNG")


def test_undetermined_estimate_is_a_limit_and_the_verdict_cannot_tell():
    sizes = SIZES[:6]
    rows = pd.DataFrame({"batch_size": sizes, "steps": curve(1e6, 10, 1, sizes)})
    result = sparsefit.fit(rows)
    assert result.fits[0].critical_batch_size.value is None
    row = text_of(result).split("\n\n")[1].splitlines()[1]
    assert re.search(r"< [\d.,]+ +> [\d.,]+ +cannot tell", row)


def test_two_batch_sizes_are_shown_and_drawn_without_interval():
    result = sparsefit.fit(pd.DataFrame({"batch_size": [1, 8], "steps": [100, 20]}))
    assert "not determined" in text_of(result)
    assert draw(result, "svg").startswith(b"<?xml")


def test_a_group_of_many_columns_has_a_name_that_fits_into_the_figure():
    groups = [{f"column {n}": f"a word or {two}" for n in range(8)} for two in ("two", "three")]
    name, _ = name_groups(sparsefit.fit(table([(group, 50_000, 200) for group in groups])).fits)
    assert name.count("\n") >= 3
    assert max(map(len, name.splitlines())) <= LINE
