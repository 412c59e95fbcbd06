import csv
from pathlib import Path

import numpy as np
import pytest

from sparsefit.errors import InputError
from sparsefit.experiment import metaparameters, workload
from sparsefit.experiment.metaparameters import Range
from sparsefit.experiment.sobol import bratley_fox, scrambled

TABLE = Path(__file__).parents[1] / "data" / "effect_dps_sobol_metaparameters.csv"
SETS = {
    "sgd_constant": "w1",
    "momentum_constant": "w2",
    "sgd_linear": "cifar-10-sgd-linear",
    "nesterov_linear": "w4",
}


def rows(kind):
    with TABLE.open() as stream:
        return [row for row in csv.DictReader(stream) if row["metaparameter_set"] == kind]


@pytest.mark.parametrize("kind", SETS)
def test_settings_equal_the_release_bit_for_bit(kind):
    table = rows(kind)
    settings = metaparameters.sobol(workload.load(SETS[kind]), 100)
    assert len(table) == len(settings) == 100
    for row, setting in zip(table, settings, strict=True):
        filled = {name: float(row[name]) for name in list(row)[6:] if row[name]}
        assert setting == filled


@pytest.mark.parametrize("kind", SETS)
def test_points_equal_the_release_bit_for_bit(kind):
    table = [[float(row[f"u{axis}"]) for axis in range(1, 5) if row[f"u{axis}"]] for row in rows(kind)]
    assert np.array_equal(bratley_fox(len(table[0]), 100), table)


def test_first_trials_are_those_of_the_protocol():
    assert metaparameters.sobol(workload.load("w1"), 1) == [{"learning_rate": pytest.approx(0.01, rel=1e-15)}]
    assert metaparameters.sobol(workload.load("w2"), 1)[0]["momentum"] == pytest.approx(0.99684, abs=5e-6)
    assert isinstance(metaparameters.sobol(workload.load("w4"), 1)[0]["decay_steps"], int)


def test_a_trial_keeps_its_setting_when_more_trials_are_drawn():
    for sampling in ("sobol", "scrambled-sobol"):
        w = workload.from_dict({**workload.load("w4").to_dict(), "sampling": sampling})
        assert metaparameters.sobol(w, 100)[:7] == metaparameters.sobol(w, 7)


def test_scrambled_points_depend_on_the_seed_alone():
    assert np.array_equal(scrambled(4, 20, 3), scrambled(4, 20, 3))
    assert not np.array_equal(scrambled(4, 20, 3), scrambled(4, 20, 4))
    assert scrambled(6, 5, 0).shape == (5, 6)
    assert scrambled(2, 0, 0).shape == (0, 2)


def test_more_than_four_axes_name_the_alternative():
    with pytest.raises(InputError, match="scrambled-sobol"):
        bratley_fox(5, 1)


def test_reverse_log_scale_starts_at_its_largest_value():
    momentum = Range(0.9, 0.9999, "REVERSE_LOG_SCALE")
    assert momentum.value(0.0) == pytest.approx(0.9999, rel=1e-15)
    assert momentum.value(0.5) == pytest.approx(1 - 10**-2.5, rel=1e-15)


def test_integers_are_truncated():
    steps = Range(30_000, 60_000, type="INTEGER")
    assert (steps.value(0.0), steps.value(0.99999)) == (30_000, 59_999)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((0.0, 1.0, "LOG_SCALE"), "above 0"),
        ((0.9, 1.0, "REVERSE_LOG_SCALE"), "below 1"),
        ((2.0, 1.0), "above max_value"),
        ((0.0, float("inf")), "finite"),
        ((0.1, 1.0, "LOG"), "LOG_SCALE, REVERSE_LOG_SCALE, LINEAR_SCALE"),
        ((0.1, 1.0, "LOG_SCALE", "FLOAT"), "DOUBLE, INTEGER"),
    ],
)
def test_bad_ranges_are_refused(arguments, part):
    with pytest.raises(InputError, match=part):
        Range(*arguments)
