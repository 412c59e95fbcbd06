"""Public measurements with published fits; see tests/data/README.md for their origin."""

from pathlib import Path

import pandas as pd
import pytest

from sparsefit.fitting.fit import fit_curve

DATA = Path(__file__).parents[1] / "data"

# c1/c2, its 95 % interval and the verdict, computed independently from the same rows (least squares on log K)
CBS = {
    "85M": (1902, 2529, "consistent"),
    "151M-ablation": (2750, 3836, "rejected"),
    "302M": (4740, 6262, "consistent"),
    "604M": (6698, 9434, "consistent"),
    "1.2B": (9418, 13330, "consistent"),
}
OPENAI = {
    ("MNIST", 0.3): (11.4, 27.7, "rejected"),
    ("MNIST", 0.2): (10.2, 18.4, "consistent"),
    ("MNIST", 0.1): (14.2, 17.0, "consistent"),
    ("MNIST", 0.05): (24.5, 30.2, "consistent"),
    ("MNIST", 0.03): (41.8, 55.4, "consistent"),
    ("MNIST", 0.02): (61.7, 77.5, "undetermined"),
    ("MNIST", 0.01): (87.2, 112.7, "rejected"),
    ("MNIST", 0.007): (56.3, 93.6, "consistent"),
    ("CIFAR10", 0.5): (213, 319, "rejected"),
    ("CIFAR10", 0.4): (270, 397, "rejected"),
    ("CIFAR10", 0.3): (379, 548, "rejected"),
    ("CIFAR10", 0.2): (680, 898, "rejected"),
    ("CIFAR10", 0.15): (477, 968, "rejected"),
    ("CIFAR10", 0.1): (652, 1311, "rejected"),
    ("CIFAR10", 0.05): (990, 1521, "rejected"),
    ("CIFAR10", 0.04): (955, 1544, "undetermined"),
    ("CIFAR10", 0.03): (770, 1565, "undetermined"),
}


@pytest.fixture(scope="module")
def cbs():
    return pd.read_csv(DATA / "cbs_pretraining_steps.csv")


@pytest.fixture(scope="module")
def openai():
    return pd.read_csv(DATA / "mccandlish_pareto_digitized.csv")


@pytest.mark.parametrize("size", CBS)
def test_cbs_fits_equal_the_published_ones_to_five_digits(cbs, size):
    rows = cbs[cbs.model_size == size]
    published = pd.read_csv(DATA / "cbs_pretraining_published_fits.csv").set_index("model_size").loc[size]
    fit = fit_curve(rows.batch_size, rows.steps_used_in_fit)
    assert fit.c1.value == pytest.approx(published.c1_examples_steps, rel=5e-6)
    assert fit.c2.value == pytest.approx(published.c2_steps, rel=5e-6)


@pytest.mark.parametrize("size", CBS)
def test_cbs_intervals_and_verdicts(cbs, size):
    rows = cbs[cbs.model_size == size]
    fit = fit_curve(rows.batch_size, rows.steps_used_in_fit)
    low, high, verdict = CBS[size]
    assert fit.critical_batch_size.low == pytest.approx(low, rel=5e-4)  # the table has four digits
    assert fit.critical_batch_size.high == pytest.approx(high, rel=5e-4)
    assert fit.verdict == verdict


@pytest.mark.parametrize(("task", "goal"), OPENAI)
def test_openai_critical_batch_sizes_intervals_and_verdicts(openai, task, goal):
    rows = openai[(openai.task == task) & (openai.goal_error == goal)]
    published = pd.read_csv(DATA / "mccandlish_reference_fits.csv")
    published = published[(published.task == task) & (published.goal_error == goal)].iloc[0]
    fit = fit_curve(rows.batch_size, rows.steps)
    low, high, verdict = OPENAI[task, goal]
    assert fit.critical_batch_size.value == pytest.approx(published.bcrit_published_digitized, rel=0.03)
    assert fit.c1.value == pytest.approx(published.c1, rel=1e-4)
    assert fit.c2.value == pytest.approx(published.c2, rel=1e-4)
    assert fit.critical_batch_size.low == pytest.approx(low, rel=5e-3)  # the table has three digits
    assert fit.critical_batch_size.high == pytest.approx(high, rel=5e-3)
    assert fit.verdict == verdict


def test_a_plateau_of_two_evaluation_intervals_is_refused(openai):
    rows = openai[(openai.task == "MNIST") & (openai.goal_error == 0.3)]
    fit = fit_curve(rows.batch_size, rows.steps, eval_interval=10)
    assert fit.verdict == "undetermined"
    assert "evaluation intervals" in fit.verdict_reason
