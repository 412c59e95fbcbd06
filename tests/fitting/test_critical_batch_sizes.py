"""Critical batch sizes by every definition, against closed forms and published numbers."""

import csv
from pathlib import Path

import numpy as np
import pytest

from sparsefit.fitting.critical_batch_sizes import critical_batch_sizes
from sparsefit.fitting.fit import fit_curve
from sparsefit.fitting.validation import validate

ROOT = Path(__file__).parents[2]
SIZE = 2.0 ** np.arange(1, 15)
C1, C2 = 20_000.0, 150.0


def by_name(fit, **options):
    return {size.name: size.estimate for size in critical_batch_sizes(fit, **options)}


def exact():
    bump = 1 + 1e-7 * (-1.0) ** np.arange(len(SIZE))
    return fit_curve(SIZE, (C1 / SIZE + C2) * bump)


@pytest.mark.parametrize("overhead", [0.1, 0.2, 1.0])
def test_definitions_agree_with_the_curve_they_are_made_of(overhead):
    found = by_name(exact(), overhead=overhead)
    near = {"rel": 1e-5}  # steps are off by 1e-7
    both = found["both_overheads_double"].value
    assert C1 / both + C2 == pytest.approx(2 * C2, **near)
    assert C1 + C2 * both == pytest.approx(2 * C1, **near)
    assert C1 + C2 * found["overhead"].value == pytest.approx((1 + overhead) * C1, **near)
    work = C1 + C2 * found["overhead_from_first"].value
    assert work == pytest.approx((1 + overhead) * (C1 + C2 * SIZE[0]), **near)
    last = found["last_linear"].value
    works = C1 + C2 * SIZE
    assert last == SIZE[works <= (1 + overhead) * works[0]].max()


def test_steps_on_an_evaluation_grid_count_by_the_middle():
    size = 2.0 ** np.arange(4, 12)
    steps = 32_000 / size + 40
    grid = fit_curve(size, np.ceil(steps / 32) * 32, eval_interval=32)
    # the end of the interval would add up to half of the plateau, and give 64
    assert by_name(grid)["last_linear"] == by_name(fit_curve(size, steps))["last_linear"]
    assert by_name(grid)["last_linear"].value == 128


def test_intervals_are_carried_along():
    found = by_name(exact(), overhead=0.2, first_batch_size=8)
    whole, shifted = found["both_overheads_double"], found["overhead_from_first"]
    assert (shifted.low, shifted.high) == (0.2 * whole.low + 1.2 * 8, 0.2 * whole.high + 1.2 * 8)


def test_sweep_that_stays_linear_has_no_last_linear_batch_size():
    fit = fit_curve(SIZE[:5], C1 / SIZE[:5] * np.array([1.01, 0.99, 1.0, 1.01, 0.99]))
    found = by_name(fit)
    assert found["last_linear"].value is None
    assert found["overhead"].value is None
    assert found["overhead"].low == pytest.approx(0.2 * fit.critical_batch_size.low)


def test_published_critical_batch_sizes_of_the_public_table_are_met():
    with (ROOT / "tests" / "data" / "cbs_pretraining_published_fits.csv").open() as file:
        published = {row["model_size"]: row for row in csv.DictReader(file)}
    result = validate(ROOT / "examples" / "cbs_pretraining.csv", first_batch_size=256)
    found = {
        size.group["model_size"]: size.estimate.value
        for size in result.critical_batch_sizes
        if size.name == "overhead_from_first"
    }
    assert found.keys() == published.keys()
    for model, row in published.items():
        assert found[model] == pytest.approx(float(row["cbs_20pct_overhead"]), abs=0.1)  # printed to a tenth
