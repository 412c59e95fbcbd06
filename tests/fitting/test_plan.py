"""Plans: the batch size within the limits, its cost, and intervals by the joint region of c1 and c2."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefit.errors import InputError
from sparsefit.fitting.fit import fit_curve
from sparsefit.fitting.plan import plan
from sparsefit.fitting.results import FitResult
from sparsefit.fitting.results_records import Estimate

SIZE = 2.0 ** np.arange(1, 15)
C1, C2 = 20_000.0, 150.0


def simulated(noise=0.05, seed=0, size=SIZE):
    rng = np.random.default_rng(seed)
    return fit_curve(size, (C1 / size + C2) * np.exp(noise * rng.standard_normal(len(size))))


FIT = simulated()
RESULT = FitResult((FIT,))


def one(**limits):
    return plan(RESULT, **limits).plans[0]


def test_cost_at_the_chosen_batch_size_is_that_of_the_curve():
    found = one(max_overhead=0.2)
    c1, c2 = FIT.c1.value, FIT.c2.value
    size = found.batch_size.value
    assert size == pytest.approx(0.2 * c1 / c2)
    assert found.steps.value == pytest.approx(c1 / size + c2)
    assert found.samples.value == pytest.approx(found.steps.value * size)
    assert found.samples_overhead.value == pytest.approx(found.samples.value / c1 - 1)
    assert found.steps_overhead.value == pytest.approx(found.steps.value / c2 - 1)


@given(budget=st.floats(1.001, 1e4))
@settings(max_examples=50, deadline=None)
def test_budget_is_spent_and_not_exceeded(budget):
    found = one(budget_samples=budget * FIT.c1.value)
    assert found.samples.value == pytest.approx(budget * FIT.c1.value)
    assert found.limited_by == "budget_samples"


def test_smallest_of_several_limits_decides():
    found = one(max_overhead=0.2, devices_max_batch=16)
    assert (found.batch_size.value, found.limited_by) == (16, "devices_max_batch")
    found = one(max_overhead=0.2, devices_max_batch=4096)
    assert found.limited_by == "max_overhead"


def test_devices_leave_no_doubt_about_the_batch_size_but_about_its_cost():
    found = one(devices_max_batch=64)
    assert found.batch_size.low == found.batch_size.value == found.batch_size.high == 64
    assert found.steps.low < found.steps.value < found.steps.high


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_intervals_are_those_of_the_profile_likelihood(noise):
    fit = simulated(noise)
    for size in (4.0, 128.0, 4096.0):
        found = plan(FitResult((fit,)), devices_max_batch=size).plans[0].steps
        profile = fit.predict(size)
        # the joint region is an ellipse up to terms of the order of the noise
        width = np.log(profile.high[0] / profile.low[0])
        assert np.log(found.low / profile.low[0]) == pytest.approx(0, abs=0.1 * width)
        assert np.log(found.high / profile.high[0]) == pytest.approx(0, abs=0.1 * width)
    critical = plan(FitResult((fit,)), max_overhead=1.0).plans[0].batch_size
    width = np.log(fit.critical_batch_size.high / fit.critical_batch_size.low)
    assert np.log(critical.low / fit.critical_batch_size.low) == pytest.approx(0, abs=0.1 * width)


def test_correlation_makes_intervals_narrower_than_those_of_corners():
    found = one(devices_max_batch=C1 / C2).steps
    corner = FIT.c1.high / (C1 / C2) + FIT.c2.high
    # both terms are equal there, and r is about -0.3: sqrt((1 + r)/2) = 0.6 of the corner's distance
    assert found.high - found.value < 0.75 * (corner - found.value)


def test_interval_of_the_steps_holds_the_truth_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        found = plan(FitResult((simulated(seed=seed),)), devices_max_batch=100.0).plans[0].steps
        hits += found.low <= C1 / 100 + C2 <= found.high
    assert hits >= 88  # 95 less three standard errors of a share of 100


def test_budget_under_the_least_work_has_no_batch_size():
    found = one(budget_samples=1000)
    assert found.batch_size.value is None
    assert "the least work is c1" in found.notes[0]


def test_curve_that_is_not_determined_gives_its_limit_and_the_reason():
    fit = simulated(size=SIZE[:5])
    found = plan(FitResult((fit,)), max_overhead=0.2).plans[0]
    assert found.batch_size.value is None
    assert found.batch_size.low == pytest.approx(0.2 * fit.critical_batch_size.low)
    assert "add batch sizes" in found.notes[-1]


def test_batch_size_outside_those_measured_is_said():
    assert "outside the batch sizes measured" in one(devices_max_batch=1e6).notes[0]
    assert one(devices_max_batch=64).notes == ()


def test_groups_each_get_their_plan_and_the_file_gives_the_same(tmp_path):
    groups = [{"sparsity": 0.0}, {"sparsity": 0.9}]
    fits = tuple(
        fit_curve(SIZE, (C1 * k / SIZE + C2) * np.tile([1.02, 0.98], 7), group=group)
        for k, group in zip((1, 3), groups, strict=True)
    )
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(FitResult(fits).to_dict()))
    read, direct = (plan(source, max_overhead=0.5).to_dict() for source in (path, FitResult(fits)))
    assert read == direct
    assert [entry["group"] for entry in read["plans"]] == groups
    assert read["schema"] == "sparsefit.plan/1"


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["budget_samples", "max_overhead", "devices_max_batch"])
def test_limit_that_is_not_positive_is_refused(name, value):
    with pytest.raises(InputError, match=name):
        one(**{name: value})


def test_plan_without_a_limit_is_refused():
    with pytest.raises(InputError, match="needs a limit"):
        one()


LINEAR = fit_curve(SIZE[:8], C1 / SIZE[:8] * np.tile([1.02, 0.98], 4))
FLAT = fit_curve(SIZE[6:], C2 * np.tile([1.02, 0.99, 0.98], 3)[:8])


@pytest.mark.parametrize("fit", [LINEAR, FLAT, fit_curve(SIZE[::4], [900, 700, 800, 600])])
def test_steps_among_the_batch_sizes_measured_are_those_of_predict_where_c1_and_c2_are_open(fit):
    assert fit.log_correlation is None
    for size in fit.batch_size:
        found, curve = plan(FitResult((fit,)), batch_size=size).plans[0], fit.predict(size)
        expected = [float(part[0]) for part in (curve.steps, curve.low, curve.high)]
        assert [found.steps.value, found.steps.low, found.steps.high] == pytest.approx(expected)
        assert found.samples.value == pytest.approx(size * expected[0])
        assert found.limited_by == "batch_size"


def test_open_ends_give_limits_beyond_the_batch_sizes_measured():
    linear = plan(FitResult((LINEAR,)), batch_size=1e9).plans[0]
    assert linear.steps.value is None
    assert linear.steps.low == pytest.approx(LINEAR.c1.low / 1e9, rel=0.02)
    assert linear.steps.high == pytest.approx(LINEAR.c2.high, rel=0.02)
    assert linear.samples_overhead.low is None
    assert linear.samples_overhead.high == pytest.approx(1e9 / LINEAR.critical_batch_size.low)
    flat = plan(FitResult((FLAT,)), batch_size=1e-9).plans[0]
    assert flat.steps.value is None
    assert flat.steps.low == pytest.approx(FLAT.c2.low, rel=0.02)
    assert flat.steps.high == pytest.approx(FLAT.c1.high * 1e9, rel=0.02)


def test_budget_has_a_batch_size_on_a_plateau_whose_c1_is_open():
    found = plan(FitResult((FLAT,)), budget_samples=C2 * 1024).plans[0]
    assert found.batch_size.low < 1024 < found.batch_size.high
    assert found.limited_by == "budget_samples"
    assert found.samples.value == pytest.approx(C2 * 1024)
    assert plan(FitResult((LINEAR,)), budget_samples=2 * C1).plans[0].batch_size.value is None
    assert "the least work is c1" in plan(FitResult((LINEAR,)), budget_samples=1.0).plans[0].notes[0]


def test_two_rows_give_a_batch_size_and_no_steps():
    found = plan(FitResult((fit_curve([2, 4], [100, 60]),)), batch_size=2).plans[0]
    assert found.batch_size.value == 2
    assert found.steps == Estimate(None, None, None)
    assert "nothing to tell noise from" in found.notes[-1]


def test_file_of_an_earlier_version_says_that_the_table_is_to_be_fitted_again(tmp_path):
    content = FitResult((LINEAR,)).to_dict()
    del content["fits"][0]["region"]
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(content))
    found = plan(path, batch_size=64).plans[0]
    assert found.steps.value is None
    assert any("fit the table again" in note for note in found.notes)
