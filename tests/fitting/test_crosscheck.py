"""Where every row is exact, lmfit must find what our own likelihood finds."""

import numpy as np
import pytest

from sparsefit.errors import InputError
from sparsefit.fitting.fit import fit_curve

BATCH = 2.0 ** np.arange(1, 13)


def noisy(seed=0):
    noise = 0.05 * np.random.default_rng(seed).standard_normal(len(BATCH))
    return (40_000 / BATCH + 300) * np.exp(noise)


def test_lmfit_agrees_on_exact_rows():
    fit = fit_curve(BATCH, noisy())
    result = fit.lmfit
    # lmfit stops at relative changes of 1.5e-8 in the sum of squares, which leaves about its root in a value
    for name in ("c1", "c2", "critical_batch_size"):
        assert result.params[name].value == pytest.approx(getattr(fit, name).value, rel=2e-4)
    assert np.sqrt(result.redchi) == pytest.approx(fit.rms_log_residual, rel=1e-6)


def test_lmfit_finds_the_correlation_of_the_logarithms():
    fit = fit_curve(BATCH, noisy(1))
    assert fit.lmfit.params["log_c1"].correl["log_c2"] == pytest.approx(fit.log_correlation, abs=1e-3)


def test_rows_that_did_not_reach_the_goal_are_left_out_of_lmfit():
    censored = BATCH <= 4
    result = fit_curve(BATCH, noisy(), censored=censored).lmfit
    assert result.ndata == (~censored).sum()


def test_lmfit_without_two_rows_is_refused():
    fit = fit_curve(BATCH, noisy())
    lost = np.full_like(fit.upper, np.inf)
    object.__setattr__(fit, "upper", lost)
    with pytest.raises(InputError, match="two rows"):
        _ = fit.lmfit


def test_gamma_regression_agrees_within_the_squared_noise():
    fit = fit_curve(BATCH, noisy())
    for name in ("c1", "c2"):
        assert fit.glm.params[name] == pytest.approx(getattr(fit, name).value, rel=0.01)  # noise² is 0.0025


def test_influence_names_the_row_that_the_fit_hangs_on():
    steps = 40_000 / BATCH + 300
    steps[-1] *= 1.5
    distance, _ = fit_curve(BATCH, steps).glm.get_influence().cooks_distance
    assert distance.argmax() == len(BATCH) - 1
