"""The shape that curves share, and the claim that it is the one of c1/B + c2."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares
from scipy.special import stdtrit

from sparsefit.fitting.fit import fit_curve
from sparsefit.fitting.likelihood import pool
from sparsefit.fitting.shape import fit_shapes
from sparsefit.fitting.validation import validate
from tests.fitting.simulated import SIZE, hyperbola, knee, steps_table

MODELS = {
    "power_plateau": lambda x, theta, k: np.logaddexp(k * (theta - x), 0.0),
    "smooth_knee": lambda x, theta, k: np.logaddexp(k * (theta - x), 0.0) / k,
}


def rows_of(log_steps, *, within=0.0):
    steps = np.exp(log_steps)
    return pool(np.log(SIZE), np.log(steps - within), np.log(steps))


def noisy(curve, seed, noise=0.05):
    return np.log(curve(SIZE)) + noise * np.random.default_rng(seed).standard_normal(len(SIZE))


def least_squares_at(model, curves, log_shape=None):
    """Sum of squares of one curve, or of each of several in turn, over θ and level (and the shape)."""

    def residual(free, y):
        shape = np.exp(free[2] if log_shape is None else log_shape)
        return y - free[0] - MODELS[model](np.log(SIZE), free[1], shape)

    starts = [
        [y[-1], theta, 0.0][: 3 if log_shape is None else 2] for y in curves for theta in (3.0, 5.0, 7.0)
    ]
    found = [
        min((least_squares(residual, start, args=(y,), xtol=1e-12) for start in starts), key=lambda f: f.cost)
        for y in curves
    ]
    return found


def trend(table, **options):
    return next(claim for claim in validate(table, **options).claims if claim.name == "universal_trend")


def family(*curves, noise=0.03, seed=0):
    return steps_table(
        noise=noise, seed=seed, **{f"n{i}": ({"network": i}, curve) for i, curve in enumerate(curves)}
    )


@pytest.mark.parametrize("model", MODELS)
def test_shape_of_one_curve_is_the_one_of_scipy_with_the_ends_where_f_has_its_limit(model):
    y = noisy(knee(0.8), seed=1)
    shape = fit_shapes(model, [rows_of(y)], 0.95)[0].estimate
    best = least_squares_at(model, [y])[0]
    # a parabola through three of the 17 shapes over the interval
    assert np.log(shape.value) == pytest.approx(best.x[2], abs=0.02 * np.log(shape.high / shape.low))
    limit = best.cost * (1 + stdtrit(len(y) - 3, 0.975) ** 2 / (len(y) - 3))
    for end in (shape.low, shape.high):
        assert least_squares_at(model, [y], np.log(end))[0].cost == pytest.approx(limit, rel=0.02)


def test_all_curves_together_and_one_alone_are_the_same_for_one_curve():
    shared, alone = fit_shapes("smooth_knee", [rows_of(noisy(hyperbola(), seed=2))], 0.95)
    assert [shared] == alone


def test_narrow_intervals_of_steps_are_as_exact_steps():
    curves = [noisy(hyperbola(), seed=3), noisy(hyperbola(40_000, 400), seed=4)]
    exact = fit_shapes("power_plateau", [rows_of(y) for y in curves], 0.95)[0]
    grid = fit_shapes("power_plateau", [rows_of(y, within=0.01) for y in curves], 0.95)[0]
    # 0.01 of 150 steps or more, in 5 % noise
    assert grid.estimate.low == pytest.approx(exact.estimate.low, rel=1e-3)
    assert grid.estimate.high == pytest.approx(exact.estimate.high, rel=1e-3)
    assert grid.p_value == pytest.approx(exact.p_value, rel=0.01)


def test_many_curves_know_their_shape_better_than_each_alone():
    curves = [knee(0.6, 20_000 * s, 150 * s**1.5) for s in (1, 1.5, 2, 2.5)]
    shared, alone = fit_shapes("smooth_knee", [rows_of(noisy(c, seed=s)) for s, c in enumerate(curves)], 0.95)
    assert shared.estimate.low < 0.6 < shared.estimate.high
    width = [np.log(found.estimate.high / found.estimate.low) for found in (shared, *alone)]
    assert width[0] < min(width[1:])


def test_chances_are_uniform_where_the_shape_is_one():
    found = [
        fit_shapes("power_plateau", [rows_of(noisy(hyperbola(), seed=seed))], 0.95)[0].p_value
        for seed in range(120)
    ]
    # three standard errors of a share of 120
    assert abs(np.mean(np.array(found) < 0.1) - 0.1) < 3 * np.sqrt(0.1 * 0.9 / 120)
    assert abs(np.mean(np.array(found) < 0.5) - 0.5) < 3 * np.sqrt(0.25 / 120)


def test_curves_of_one_trend_hold():
    claim = trend(family(hyperbola(), hyperbola(40_000, 300), hyperbola(50_000, 600)))
    assert claim.verdict == "holds"
    assert 0.8 < claim.low < claim.value < claim.high < 1.25
    assert claim.group == {}
    assert [row["group"] for row in claim.details[:3]] == [None, None, {"network": 0}]
    assert len(claim.details) == 2 * (1 + 3)


def test_a_common_softer_knee_fails_where_no_curve_alone_would():
    curves = [knee(0.7, 20_000 * s, 150 * s) for s in (1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.4)]
    claim = trend(family(*curves, noise=0.13, seed=2))
    assert claim.verdict == "fails"
    assert "All 8 curves share" in claim.reason
    assert min(row["p_value"] for row in claim.details if row["group"]) * 2 * 2 * 8 > 0.01


def test_one_curve_of_another_shape_fails_and_is_named():
    claim = trend(family(hyperbola(), hyperbola(40_000, 300), knee(0.4), hyperbola(30_000, 200)))
    assert claim.verdict == "fails"
    assert "network 2" in claim.reason


def test_noise_cannot_tell_and_the_reason_has_what_is_known():
    claim = trend(family(hyperbola(), hyperbola(40_000, 300), noise=0.4))
    assert claim.verdict == "cannot tell"
    assert claim.reason.startswith("All 2 curves share a = ")


def test_one_curve_or_short_curves_or_rounded_plateaus_are_no_trend():
    one = family(hyperbola())
    short = family(hyperbola(), hyperbola(40_000, 300)).groupby("network").head(5)
    rounded = family(hyperbola(2_000, 20), hyperbola(3_000, 20))
    rounded["steps"] = np.ceil(rounded["steps"] / 10) * 10
    for table, options in ((one, {}), (short, {}), (rounded, {"eval_interval": 10})):
        claim = trend(table, **options)
        assert claim.verdict == "cannot tell"
        assert "two curves" in claim.reason


def test_steps_without_noise_hold_with_a_narrow_interval():
    claim = trend(pd.DataFrame(family(hyperbola(), hyperbola(40_000, 300), noise=0.0)))
    assert claim.verdict == "holds"
    # noise under 1e-5 counts as none
    assert claim.low == pytest.approx(1, abs=5e-3)
    assert claim.high == pytest.approx(1, abs=5e-3)


def test_a_curve_that_missed_the_goal_at_small_batch_sizes_takes_part():
    table = family(hyperbola(), hyperbola(40_000, 300))
    table["max_steps"] = 8_000.0
    table.loc[table["steps"] > 8_000, "steps"] = np.nan
    table["status"] = np.where(table["steps"].isna(), "not_reached", "reached")
    assert trend(table).verdict in ("holds", "cannot tell")
    assert fit_curve(SIZE, hyperbola()(SIZE)).verdict == "consistent"
