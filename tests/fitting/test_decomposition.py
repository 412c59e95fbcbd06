import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from sparsefit.errors import InputError
from sparsefit.fitting import decomposition_file
from sparsefit.fitting.decomposition import decompose
from sparsefit.fitting.fit_file import read_parts
from sparsefit.quantity import Quantity, geometric_mean, mean_interval
from sparsefit.report.decomposition_table import remarks
from sparsefit.trajectory import Point, Trajectory

PAPER = Path(__file__).parents[2] / "examples" / "lee2020_simple_cnn.json"
NORMS = (4.0, 9.0, 1.0, -0.1, 2.0)
SHARES = {"conv": 0.25, "fc": 0.75}


def point(step, *, loss=2.0, norm=4.0, smoothness=3.0, beta=50.0):
    return Point(step, loss, norm, smoothness, (smoothness,), Quantity(beta, beta, beta, 9), SHARES, SHARES)


def trajectory(seed=0, sparsity=0.0, scale=1.0, goal_step=5):
    points = (point(1, smoothness=9 * scale), point(5, loss=1.0, norm=2.0, smoothness=3 * scale, beta=40.0))
    return Trajectory(
        seed, sparsity, 0.1, 10, points, NORMS, goal_step, Quantity(1.0, 0.9, 1.1, 8), Quantity(50.0, n=8)
    )


def test_parts_follow_their_definitions():
    found = decompose("toy", [trajectory()]).dense.quantities
    epsilon = np.mean(NORMS)
    expected = {
        "delta": 4.0,
        "smoothness": 3.0,
        "smoothness_max": 9.0,
        "beta": 50.0,
        "beta_mean": 40.0,
        "epsilon": epsilon,
        "noise_scale": 50 / 4,
        "c1_own_epsilon": 4 * 3 * 50 / epsilon**2,
        "c2": 4 / (0.1 * epsilon),
        "critical_batch_size": 0.1 * 3 * 50 / epsilon,
        "learning_rate_bound": 1 / 9,
        "goal_step": 5,
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value), name
    assert found["c1_own_epsilon"].value / found["c2"].value == pytest.approx(
        found["critical_batch_size"].value
    )


def test_f_inf_is_subtracted_or_taken_from_the_trajectory():
    assert decompose("toy", [trajectory()], f_inf=0.5).dense.quantities["delta"].value == pytest.approx(3)
    assert decompose("toy", [trajectory()], f_inf="lowest").dense.quantities["delta"].value == pytest.approx(
        2
    )
    with pytest.raises(InputError, match="must lie below"):
        decompose("toy", [trajectory()], f_inf=2.0)


def test_second_moment_slope_covers_a_beta_that_grows():
    grown = dataclasses.replace(trajectory(), points=(point(1), point(5, norm=2.0, beta=90.0)))
    assert grown.second_moment_slope() == pytest.approx(1 + (90 - 50) / (10 * 2))


def test_ratios_are_paired_by_seed():
    factors = (1.0, 10.0, 100.0)
    rows = [trajectory(s, 0.0, f) for s, f in enumerate(factors)]
    rows += [trajectory(s, 0.9, 2 * f) for s, f in enumerate(factors)]
    (sparse,) = decompose("toy", rows).sparse
    ratio = sparse.ratios["smoothness"]
    assert (ratio.low, ratio.value, ratio.high, ratio.n) == pytest.approx((2, 2, 2, 3))
    product = math.prod(sparse.ratios[name].value for name in ("delta", "smoothness", "beta"))
    assert sparse.ratios["c1"].value == pytest.approx(product)


def test_one_seed_gives_no_interval():
    found = decompose("toy", [trajectory(), trajectory(sparsity=0.9)])
    assert found.sparse[0].ratios["c1"].low is None
    assert found.dense.quantities["mu"].low == 0.9


def test_a_missing_pair_is_refused():
    with pytest.raises(InputError, match=r"no trajectory of sparsity 0\.9 for seed 1"):
        decompose("toy", [trajectory(0), trajectory(1), trajectory(0, 0.9)])


def test_geometric_mean_is_the_mean_of_logarithms():
    found = geometric_mean([1.0, 4.0, 16.0])
    logs = mean_interval(np.log([1.0, 4.0, 16.0]))
    assert (found.value, found.low, found.high) == pytest.approx((4, math.exp(logs.low), math.exp(logs.high)))


def test_paper_digits_give_both_products():
    (sparse,) = decomposition_file.load(PAPER).sparse
    ratios = sparse.ratios
    assert ratios["c1"].value == pytest.approx(1.690, abs=5e-4)
    rounded = [round(ratios[name].value, 2) for name in ("delta", "beta", "smoothness")]
    assert rounded == [1.00, 0.54, 3.09]
    assert round(math.prod(rounded), 2) == 1.67


def test_saved_file_comes_back_equal(tmp_path):
    made = decompose(
        "toy", [trajectory(s, p, 1 + s) for s in (0, 1) for p in (0.0, 0.9)], settings={"steps": 5}
    )
    decomposition_file.save(tmp_path / "d.json", made)
    assert decomposition_file.load(tmp_path / "d.json") == made
    table = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert table["schema"] == "sparsefit.decomposition/1"
    assert set(table["sparse"][0]["ratios"]["c1"]) == {"value", "low", "high", "n"}


def test_a_saved_mu_of_0_or_less_is_read_again(tmp_path):
    made = decompose(
        "toy",
        [
            dataclasses.replace(trajectory(s, p), mu=Quantity(mu, mu - 1, mu + 1, 8))
            for s, mu in ((0, -3.0), (1, 0.5))
            for p in (0.0, 0.9)
        ],
    )
    assert made.dense.quantities["mu"].value < 0
    decomposition_file.save(tmp_path / "d.json", made)
    assert decomposition_file.load(tmp_path / "d.json") == made
    assert "μ = -1.25" in next(text for text in remarks(made) if text.startswith("dense: μ"))


NAN, HUGE = float("nan"), 10**400
BAD = {
    "schema": [None, 1, "sparsefit.fit/1"],
    "workload": [None, 3],
    "seeds": ["0", [-1], [0.5]],
    "confidence": [0, 1, "x", NAN],
    "settings": [[], 1, {"metaparameters": [0.1]}],
    "trajectories": [{}, [1], [{}]],
    "dense": [None, [], {}, {"delta": 1}],
    "sparse": [None, {}, [], [{}], [3]],
    "dense.delta": [0, -1, "4", None, True, NAN, HUGE, {}, {"value": 1, "typo": 2}, {"value": 1, "low": 2}],
    "dense.beta": [{"value": 1, "high": 0.5}, {"value": 1, "n": 0}, {"value": 1, "n": 1.5}],
    "dense.sparsity": [0.5, "x"],
    "dense.layers": [1, {"beta": 1}, {"beta": {"fc": "x"}}],
    "dense.reached": [1, [1], [-1, 3]],
    "unknown": [1],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in BAD.items() for v in values])
def test_a_bad_field_is_named(field, value, tmp_path):
    table = json.loads(PAPER.read_text(encoding="utf-8"))
    *parents, last = field.split(".")
    target = table
    for parent in parents:
        target = target[parent]
    target[last] = value
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        decomposition_file.load(path)
    assert "bad.json" in str(caught.value)
    assert last in str(caught.value)


@pytest.mark.parametrize("sparsity", [0, 1, -0.5, "0.9", None])
def test_a_bad_sparsity_is_named(sparsity, tmp_path):
    table = json.loads(PAPER.read_text(encoding="utf-8"))
    table["sparse"][0]["sparsity"] = sparsity
    (tmp_path / "bad.json").write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(InputError, match="sparsity"):
        decomposition_file.load(tmp_path / "bad.json")


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"[1]", b"{", b"[" * 100_000, b"[" + b"9" * 5000 + b"]"]
)
def test_a_file_that_holds_something_else_is_refused(content, tmp_path):
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.json"):
        decomposition_file.load(tmp_path / "bad.json")


def fit_file(path, groups):
    estimate = {"value": 5.0, "low": None, "high": 6.0}
    fits = [
        {"group": g, "c1": estimate, "c2": {**estimate, "value": None}, "critical_batch_size": estimate}
        for g in groups
    ]
    path.write_text(json.dumps({"schema": "sparsefit.fit/1", "fits": fits}), encoding="utf-8")
    return path


def test_fitted_parts_are_found_by_sparsity_and_workload(tmp_path):
    groups = [{"Workload": "W1", "Sparsity": 0.9}, {"workload": "w1"}, {"workload": "w2"}]
    found = read_parts(fit_file(tmp_path / "fit.json", groups), "w1").by_sparsity
    assert set(found) == {0.0, 0.9}
    assert found[0.9]["c2"].value is None


@pytest.mark.parametrize("groups", [[], [{"workload": "w2"}], [{"sparsity": 0}, {}]])
def test_a_fit_without_one_group_a_sparsity_is_refused(groups, tmp_path):
    with pytest.raises(InputError):
        read_parts(fit_file(tmp_path / "fit.json", groups), "w1")
