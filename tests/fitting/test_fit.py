"""The fit of one group, and of groups beside each other."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefit.errors import InputError
from sparsefit.fitting.claims_curve import hyperbola
from sparsefit.fitting.curves import softplus
from sparsefit.fitting.fit import fit_curve
from sparsefit.fitting.intervals import scan
from sparsefit.fitting.likelihood import CensoredLevel, Rows, pool
from sparsefit.fitting.ratios import compare_to_dense

B = 2.0 ** np.arange(1, 15)


def steps(c1=20_000.0, c2=150.0, noise=0.05, seed=0, size=B):
    return (c1 / size + c2) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(size)))


def test_a_curve_without_noise_is_recovered():
    fit = fit_curve(B, steps(noise=0))
    assert fit.c1.value == pytest.approx(20_000, rel=1e-7)  # the search for θ ends near 1e-7
    assert fit.c2.value == pytest.approx(150, rel=1e-7)


@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-7])
def test_tables_without_noise_are_never_rejected(noise):
    random = np.random.default_rng(0)
    for seed in range(20):
        c1, c2 = 10 ** random.uniform(3, 6), 10 ** random.uniform(1.5, 3.5)
        assert fit_curve(B, steps(c1, c2, noise, seed)).verdict != "rejected"


@pytest.mark.parametrize("k", [40_000 / B, np.full_like(B, 150.0)], ids=["c1/B", "constant"])
def test_limits_of_the_curve_are_never_rejected(k):
    assert fit_curve(B, k).verdict == "undetermined"


def test_rows_on_the_plateau_say_how_many_intervals_it_holds():
    once_an_epoch = np.maximum(4.0, 4096 / B)
    k = np.ceil(steps(40_000, 150, noise=0.03) / once_an_epoch) * once_an_epoch
    assert fit_curve(B, k, eval_interval=once_an_epoch).verdict == "consistent"
    fit = fit_curve(B, np.ceil(steps(40_000, 150) / 64) * 64, eval_interval=64)
    assert fit.verdict == "undetermined"
    assert "evaluation intervals high" in fit.verdict_reason


def test_replicates_on_an_evaluation_grid_show_lack_of_fit_as_exact_ones_do():
    size = np.repeat(B, 4)
    zigzag = np.where(np.log2(size) % 2 == 0, 1.1, 1 / 1.1)
    k = steps(noise=0.02, size=size) * zigzag
    exact, grid = fit_curve(size, k), fit_curve(size, np.ceil(k), eval_interval=1)
    assert exact.verdict == grid.verdict == "rejected"
    assert grid.lack_of_fit.f == pytest.approx(exact.lack_of_fit.f, rel=0.05)  # half a step of 150 and more
    lost = np.append(np.zeros(len(size) - 1, dtype=bool), True)
    assert fit_curve(size, k, censored=lost).lack_of_fit.df_error == exact.lack_of_fit.df_error - 3


def test_interval_ends_lie_where_the_profile_of_a_dense_grid_says():
    k = np.log(steps())
    fit = fit_curve(B, np.exp(k))
    theta = np.linspace(np.log(60), np.log(300), 20_001)
    shape = np.logaddexp(theta[:, None] - np.log(B), 0.0)
    level = (k - shape).mean(axis=1, keepdims=True)
    ssr = ((k - shape - level) ** 2).sum(axis=1)
    t = 2.1788128296634177  # Student's t, 97.5 %, 12 degrees of freedom
    inside = theta[ssr <= ssr.min() * (1 + t**2 / 12)]
    assert np.log(fit.critical_batch_size.low) == pytest.approx(inside[0], abs=1e-3)  # grid step 8e-5
    assert np.log(fit.critical_batch_size.high) == pytest.approx(inside[-1], abs=1e-3)


def test_prediction_band_holds_the_curve_and_closes_on_the_interval_of_c2():
    fit = fit_curve(B, steps())
    at = fit.predict([1e9])
    assert at.steps[0] == pytest.approx(fit.c2.value, rel=1e-5)  # c1/B is 2e-5 of c2 there
    assert at.low[0] == pytest.approx(fit.c2.low, rel=1e-3)  # extremes on 65 points without a parabola
    assert at.high[0] == pytest.approx(fit.c2.high, rel=1e-3)


@pytest.mark.parametrize("size", [0, -4, np.nan])
def test_a_batch_size_that_is_none_predicts_nothing(size):
    with pytest.raises(InputError, match="must be above 0"):
        fit_curve(B, steps()).predict([16, size])


def test_batch_sizes_far_below_c1_over_c2_give_a_lower_limit():
    fit = fit_curve(B[:8], steps(c1=2.0**11 * 150, size=B[:8]))
    assert fit.critical_batch_size.value is None
    assert fit.critical_batch_size.high is None
    assert fit.critical_batch_size.low > 256
    assert fit.c1.value == pytest.approx(2.0**11 * 150, rel=0.1)
    assert fit.c2.value is None
    assert fit.verdict == "undetermined"
    assert "add batch sizes past" in fit.verdict_reason


def test_batch_sizes_far_above_c1_over_c2_give_an_upper_limit():
    fit = fit_curve(B[5:], steps(c1=8 * 150.0, size=B[5:]))
    assert fit.critical_batch_size.value is None
    assert fit.critical_batch_size.low is None
    assert fit.critical_batch_size.high < 64
    assert fit.c1.value is None
    assert fit.c2.value == pytest.approx(150, rel=0.1)


def test_two_rows_determine_nothing_and_say_so():
    fit = fit_curve([2, 4], [10, 8])
    assert fit.c1.value is None
    assert fit.verdict == "undetermined"
    assert np.isnan(fit.predict([3]).low[0])


def test_two_rows_and_a_bound_determine_nothing_either():
    fit = fit_curve([2, 4, 8], [100, 90, 50], censored=[False, False, True])
    assert (fit.c1.value, fit.c2.value, fit.verdict) == (None, None, "undetermined")


def test_the_evaluation_grid_does_not_bias_c2():
    k = np.array([steps(seed=seed) for seed in range(12)])
    upper = np.ceil(k / 16) * 16
    with np.errstate(divide="ignore"):
        rows = Rows(
            np.tile(np.log(B), (12, 1)), np.log(upper - 16), np.log(upper), np.ones_like(k), np.zeros(12)
        )
    found = scan(rows, 0.95).level - np.log(150)
    assert abs(np.mean(found)) < 0.03  # raw steps are 5.6 % high; twelve curves have an s.e. of 0.6 %


def test_censored_studies_keep_the_linear_regime():
    k, lost = steps(noise=0.02), np.arange(14) < 2
    fit = fit_curve(B, np.where(lost, 3000.0, k), censored=lost)
    assert fit.n_censored == 2
    assert fit.c1.low < 20_000 < fit.c1.high
    assert np.all(fit.residuals[:2] >= np.log(3000) - np.log(20_000 / B[:2] + 150) - 0.2)


def test_a_power_law_without_a_plateau_rejects_where_it_is_far_ahead():
    size = 2.0 ** np.arange(4, 12)
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(size))
    fit = fit_curve(size, 5_000 * size**-0.5 * np.exp(noise))
    assert fit.verdict == "rejected"
    assert fit.verdict_reason.startswith("The power law c1/B^a without a plateau, a = 0.4")


def test_a_model_of_equal_size_that_is_a_little_ahead_leaves_the_verdict_open_and_is_named():
    size = 2.0 ** np.arange(4, 12)
    noise = np.random.default_rng(2).standard_normal(len(size))
    quiet, loud = (fit_curve(size, np.maximum(20_000 / size, 150) * np.exp(s * noise)) for s in (0.1, 0.2))
    assert quiet.verdict == "rejected"
    assert loud.models[0].name == "two_segments"
    assert loud.verdict == "undetermined"
    assert loud.verdict_reason.startswith("max(c1/B, c2) fits better by")
    assert "short of the limit of 8" in loud.verdict_reason


def test_replicates_reveal_a_wrong_curve():
    size = np.repeat(B, 3)
    rng = np.random.default_rng(1)
    knee = ((20_000 / size) ** 4 + 150.0**4) ** 0.25 * np.exp(0.02 * rng.standard_normal(len(size)))
    fit = fit_curve(size, knee)
    assert fit.lack_of_fit.p_value < 1e-6
    assert fit.verdict == "rejected"


@pytest.mark.parametrize("interval", [0.0, 40.0])
def test_pooled_replicates_have_the_likelihood_of_the_rows(interval):
    size = np.repeat(B, 4)
    upper = np.ceil(steps(size=size) / 40) * 40 if interval else steps(size=size)
    lower, lost = np.maximum(upper - interval, 1.0), size == 2
    x, low, high = np.log(size), np.log(lower), np.log(upper)
    low, high = np.where(lost, np.log(9000), low), np.where(lost, np.inf, high)
    pooled, apart = (CensoredLevel(rows) for rows in (pool(x, low, high), one_by_one(x, low, high)))
    theta = np.array([[2.0, 5.0, 8.0]])
    found, want = (
        level.profile(softplus(theta[..., None] - rows[:, None, :]))
        for level, rows in ((pooled, pool(x, low, high).log_batch_size), (apart, x[None]))
    )
    for mine, plain in zip(found, want, strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-6)  # Newton stops at a gain of 1e-10


def one_by_one(x, low, high):
    return Rows(x[None], low[None], high[None], np.ones((1, len(x))), np.zeros(1))


def test_replicates_cost_one_row_a_batch_size():
    size = np.repeat(B, 50)
    k = np.log(steps(size=size))
    rows = pool(np.log(size), k, k)
    assert rows.weight.tolist() == [[50.0] * 14]


def test_noise_that_hides_every_alternative_leaves_the_verdict_open():
    calm, wild = fit_curve(B, steps(noise=0.02)), fit_curve(B, steps(noise=0.5))
    assert calm.verdict == "consistent"
    assert wild.verdict == "undetermined"


def test_lack_of_fit_equals_the_anova_of_statsmodels():
    import statsmodels.api as sm

    size = np.repeat(B, 2)
    k = steps(size=size)
    fit = fit_curve(size, k)
    groups = np.eye(14)[np.repeat(np.arange(14), 2)]
    error = sm.OLS(np.log(k), groups).fit().ssr
    f = ((fit.residuals**2).sum() - error) / 12 / (error / 14)
    assert fit.lack_of_fit.f == pytest.approx(f, rel=1e-6)


def test_a_shift_of_the_whole_curve_shares_c1_over_c2_and_another_does_not():
    dense = fit_curve(B, steps(seed=1), group={"model": "m", "sparsity": 0.0})
    moved = fit_curve(B, 3 * steps(seed=2), group={"model": "m", "sparsity": 0.9})
    bent = fit_curve(B, steps(c1=60_000, seed=3), group={"model": "m", "sparsity": 0.5})
    ratios = compare_to_dense([dense, moved, bent])
    assert [ratio.shared.verdict for ratio in ratios] == ["consistent", "rejected"]
    assert ratios[0].c1.low < 3 < ratios[0].c1.high
    assert ratios[0].c2.low < 3 < ratios[0].c2.high
    assert ratios[1].critical_batch_size.low < 3 < ratios[1].critical_batch_size.high


def test_few_rows_beside_a_curve_that_is_known_are_tested_with_their_own_degrees_of_freedom():
    size = np.array([4.0, 32, 256, 2048, 8192])
    few = fit_curve(size, steps(24_000, size=size, seed=4), group={"sparsity": 0.0})
    known = fit_curve(B, 3 * steps(noise=1e-4), group={"sparsity": 0.9})
    shared = compare_to_dense([few, known])[0].shared
    residuals = np.log(few.upper) - np.log(steps(size=size, noise=0.0))
    own, fixed = (few.residuals**2).sum(), ((residuals - residuals.mean()) ** 2).sum()
    f = (fixed / own - 1) * 3
    # The noise of the known curve is 0.2 % of that of the few rows.
    assert shared.df_error == pytest.approx(3, rel=0.01)
    assert shared.f == pytest.approx(f, rel=0.01)
    assert shared.p_value == pytest.approx(scipy.stats.f.sf(f, 1, 3), rel=0.01)


def test_groups_that_differ_in_more_than_sparsity_are_not_compared():
    first = fit_curve(B, steps(), group={"model": "a", "sparsity": 0.0})
    second = fit_curve(B, steps(), group={"model": "b", "sparsity": 0.9})
    assert compare_to_dense([first, second]) == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1, 2, 0], [3, 2, 1]), "batch_size: got 0.0 in row 2"),
        (([1, 2, 4], [3, np.nan, 1]), "steps: got nan in row 1"),
        (([1, 2, 4], [3, -2, 1]), "steps: got -2.0 in row 1"),
        (([2, 2], [3, 4]), "got 1 batch size"),
        (([1, 2], [3]), "got shapes"),
    ],
)
def test_bad_numbers_are_named(arguments, said):
    with pytest.raises(InputError, match=said):
        fit_curve(*arguments)


def test_a_dense_network_has_no_pruning_method_to_differ_in():
    dense = fit_curve(B, steps(), group={"sparsity": 0.0, "pruning": "none"})
    snip = fit_curve(B, 2 * steps(seed=1), group={"sparsity": 0.9, "pruning": "snip"})
    assert [ratio.reference for ratio in compare_to_dense([dense, snip])] == [dense.group]
    own = fit_curve(B, steps(seed=2), group={"sparsity": 0.0, "pruning": "snip"})
    assert [ratio.reference for ratio in compare_to_dense([dense, own, snip])] == [own.group]


@pytest.mark.parametrize(("c1", "advice"), [(0.01, "no batch size of 1 or more"), (300.0, "down to 1")])
def test_a_batch_size_that_cannot_help_is_not_asked_for(c1, advice):
    size = 2.0 ** np.arange(3, 13)
    assert advice in fit_curve(size, steps(c1=c1, noise=0.02, size=size)).verdict_reason


@pytest.mark.parametrize("interval", [None, 1.0, 16.0])
def test_a_plateau_past_the_largest_batch_size_is_not_blamed_on_rounding(interval):
    size = 2.0 ** np.arange(1, 9)
    up = np.ceil(100_000 / size / (interval or 1)) * (interval or 1)
    reason = fit_curve(size, up, eval_interval=interval).verdict_reason
    assert "is not reached from above" in reason
    assert "add batch sizes past" in reason


def test_all_rows_censored_is_refused():
    with pytest.raises(InputError, match="no study reached the goal"):
        fit_curve([1, 2], [10, 10], censored=[True, True])


tables = st.lists(
    st.tuples(st.integers(0, 20), st.floats(1.0, 1e7)), min_size=2, max_size=12, unique_by=lambda row: row[0]
)


@settings(max_examples=60, deadline=None)
@given(tables)
def test_any_positive_table_gives_a_result_with_ordered_ends(table):
    power, k = zip(*table, strict=True)
    fit = fit_curve(2.0 ** np.array(power), k)
    for estimate in (fit.c1, fit.c2, fit.critical_batch_size):
        if estimate.value is not None:
            assert estimate.low is None or estimate.low <= estimate.value * (1 + 1e-9)
            assert estimate.high is None or estimate.high >= estimate.value * (1 - 1e-9)
    fit.to_dict()


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(1e-2, 1e4), st.permutations(range(14)))
def test_units_and_order_of_rows_do_not_matter(unit, pace, order):
    k = steps()
    fit, other = fit_curve(B, k), fit_curve(unit * B[list(order)], pace * k[list(order)])
    assert other.c1.value == pytest.approx(
        unit * pace * fit.c1.value, rel=1e-6
    )  # roots stop at 1e-11 in logs
    assert other.c2.value == pytest.approx(pace * fit.c2.value, rel=1e-6)
    assert other.critical_batch_size.low == pytest.approx(unit * fit.critical_batch_size.low, rel=1e-5)
    assert other.verdict == fit.verdict


def test_narrow_intervals_are_exact_values_at_any_scale():
    rng = np.random.default_rng(1)
    size = 2.0 ** np.arange(12)
    steps = (1 + 100 / size) * np.exp(1e-3 * rng.normal(size=12))
    exact = fit_curve(size, steps)
    for scale in (1e4, 1e9, 1e15):
        found = fit_curve(size, scale * steps, eval_interval=scale * 1e-9)
        for ends, wanted in ((found.critical_batch_size, exact.critical_batch_size), (found.c2, exact.c2)):
            factor = 1 if ends is found.critical_batch_size else scale
            ratios = [getattr(ends, end) / factor / getattr(wanted, end) for end in ("value", "low", "high")]
            assert ratios == pytest.approx([1, 1, 1], rel=1e-6)
        assert found.rms_log_residual == pytest.approx(exact.rms_log_residual, rel=1e-6)


def test_batch_sizes_that_missed_the_goal_do_not_help_to_judge_the_curve():
    rng = np.random.default_rng(2)
    size = 4.0 * 2.0 ** np.arange(8)
    missed = np.arange(8) < 4
    steps = np.where(missed, 50, 300 * (1 + 40 / size) * np.exp(0.05 * rng.normal(size=8)))
    found = fit_curve(size, steps, censored=missed)
    assert found.verdict == "undetermined"
    assert hyperbola(found).verdict == "cannot tell"


def test_bounds_that_say_nothing_change_nothing():
    rng = np.random.default_rng(3)
    size = 2.0 ** np.arange(3, 13)
    steps = 300 * (1 + 100 / size) * np.exp(0.03 * rng.normal(size=10))
    alone = fit_curve(size, steps, censored=[False] * 10)
    empty = [1e-3] * 20
    found = fit_curve(
        [*size, *[4.0] * 10, *[2.0**14] * 10], [*steps, *empty], censored=[False] * 10 + [True] * 20
    )
    assert {name: regime.n_batch_sizes for name, regime in found.regimes.items()} == {
        name: regime.n_batch_sizes for name, regime in alone.regimes.items()
    }
    assert found.log_correlation == pytest.approx(alone.log_correlation, abs=1e-3)
    margins = [{m.name: m.delta_aicc for m in fit.models} for fit in (alone, found)]
    assert margins[1] == pytest.approx(margins[0], abs=0.05)  # the two likelihoods find their maxima apart
