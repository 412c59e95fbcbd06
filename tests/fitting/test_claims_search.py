"""Claims about the learning rates of a search, and about predicted ratios of c1."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sparsefit.fitting import decomposition_file
from sparsefit.fitting.decomposition import Decomposition, Network
from sparsefit.fitting.validation import validate
from sparsefit.quantity import Quantity
from tests.fitting.simulated import hyperbola, steps_table, trials_table

ROOT = Path(__file__).parents[2]


def judged(table, name, decompositions=()):
    return [claim for claim in validate(table, decompositions).claims if claim.name == name]


def test_best_learning_rate_grows_with_its_exponent():
    for claim in judged(trials_table(), "learning_rate_grows"):
        assert claim.verdict == "holds"
        # a grid of 0.1 decades over 2.1 decades of batch size
        assert claim.value == pytest.approx(0.3, abs=0.05)
        assert claim.low < claim.value < claim.high
        assert len(claim.details) == 8


def test_one_best_learning_rate_at_every_batch_size_tells_nothing_of_its_growth():
    table = trials_table()
    rate = table["learning_rate"].unique()[14]
    table.loc[(table["learning_rate"] == rate) & (table["status"] == "reached"), "steps"] = 1
    for claim in judged(table, "learning_rate_grows"):
        assert claim.verdict == "cannot tell"
        assert "at each of" in claim.reason


def test_winners_of_a_table_of_studies_tell_growth_but_not_the_range():
    trials = trials_table()
    reached = trials[trials["status"] == "reached"].copy()
    reached["steps"] = reached["steps"].astype(float)
    best = reached.sort_values("steps").drop_duplicates(["sparsity", "batch_size"])
    steps = best.drop(columns=["trial"]).sort_values(["sparsity", "batch_size"])
    assert {claim.verdict for claim in judged(steps, "learning_rate_grows")} == {"holds"}
    for name in ("learning_rate_inside", "learning_rate_range"):
        found = judged(steps, name)
        assert {claim.verdict for claim in found} == {"cannot tell"}
        assert "--trials" in found[0].reason


@pytest.mark.parametrize("beside", [False, True], ids=["empty trials", "beside a table of trials"])
def test_winners_with_an_empty_column_of_trials_are_not_taken_for_the_search(beside):
    trials = trials_table().astype(str)
    reached = trials[trials["status"] == "reached"]
    order = reached["steps"].astype(float).sort_values().index
    best = reached.loc[order].drop_duplicates(["sparsity", "batch_size"]).assign(trial="", workload="winners")
    table = pd.concat([trials.assign(workload="all"), best]) if beside else best
    for name in ("learning_rate_inside", "learning_rate_range", "metaparameter_boundary"):
        found = [claim for claim in judged(table, name) if claim.group["workload"] == "winners"]
        assert {claim.verdict for claim in found} == {"cannot tell"}, name
        assert all("--trials" in claim.reason for claim in found), name


def test_best_learning_rate_at_the_edge_of_the_search_fails_and_is_named():
    assert {claim.verdict for claim in judged(trials_table(), "learning_rate_inside")} == {"holds"}
    claim = judged(trials_table(edge=True), "learning_rate_inside")[0]
    assert claim.verdict == "fails"
    assert claim.value == 0
    assert "search a wider range" in claim.reason


def test_an_end_of_a_few_rates_is_no_edge_of_the_search():
    table = trials_table(edge=True)
    few = table[table["learning_rate"].isin(table["learning_rate"].unique()[-4:])]
    claim = judged(few, "learning_rate_inside")[0]
    assert claim.verdict == "cannot tell"
    assert "more than 4 rates" in claim.reason


@pytest.mark.parametrize(("narrow", "verdict", "change"), [(0.5, "holds", -1.0), (1.0, "cannot tell", 0.0)])
def test_range_of_successful_learning_rates_is_compared_in_decades(narrow, verdict, change):
    claim = judged(trials_table(narrow=narrow), "learning_rate_range")[0]
    assert claim.verdict == verdict
    # ranges end on a grid of 0.1 decades, and at 1e-4 and 1
    assert claim.value == pytest.approx(change, abs=0.1)


def test_luck_that_a_trial_has_at_all_batch_sizes_is_no_change_of_the_range():
    """If batch sizes counted as independent measurements, two of three of these would be told."""
    rng = np.random.default_rng(9)
    told = 0
    for _ in range(20):
        rate, tables = rng.uniform(-4, 1, 20), []
        for sparsity in (0.0, 0.9):
            low, high = -3 + rng.normal(0, 0.3, 20), -0.3 + rng.normal(0, 0.3, 20)
            for doublings in range(8):
                reached = (rate > low + 0.05 * doublings) & (rate < high)
                columns = {"batch_size": 16 * 2**doublings, "trial": range(20), "learning_rate": 10**rate}
                status = np.where(reached, "reached", "not_reached")
                steps = 3000 // 2**doublings + 100
                tables.append(
                    pd.DataFrame({"sparsity": sparsity, **columns, "status": status, "steps": steps})
                )
        told += judged(pd.concat(tables), "learning_rate_range")[0].verdict != "cannot tell"
    assert told <= 4  # at a level of 5 % each


def test_wider_range_in_the_sparse_network_fails():
    assert judged(trials_table(narrow=1.5), "learning_rate_range")[0].verdict == "fails"


def test_capped_trials_leave_the_range_unknown():
    claim = judged(trials_table(capped=True), "learning_rate_range")[0]
    assert claim.verdict == "cannot tell"
    assert "--no-cap" in claim.reason


def test_table_without_learning_rates_says_so():
    claims = judged(trials_table().drop(columns="learning_rate"), "learning_rate_inside")
    assert "no column of learning rates" in claims[0].reason


def pair():
    return steps_table(
        dense=({"workload": "w1", "sparsity": 0.0}, hyperbola()),
        sparse=({"workload": "w1", "sparsity": 0.9}, hyperbola(34_000, 255)),
    )


def decomposition(value, spread, workload="w1"):
    ratio = Quantity(value, value / spread, value * spread, 5)
    part = {name: Quantity(1.0) for name in ("delta", "smoothness", "beta")}
    sparse = Network(0.9, dict(part), {"c1": ratio, "c2": Quantity(2.0)})
    return Decomposition(workload, (), Network(0.0, dict(part)), (sparse,))


@pytest.mark.parametrize(
    ("value", "spread", "verdict"),
    [(1.7, 1.1, "holds"), (3.4, 1.1, "fails"), (1.7, 4.0, "cannot tell")],
)
def test_predicted_ratio_of_c1_is_judged_by_both_intervals(value, spread, verdict):
    claim = judged(pair(), "c1_ratio", [decomposition(value, spread)])[0]
    assert claim.verdict == verdict
    assert claim.value == pytest.approx(value / 1.7, rel=0.06)  # 3 % noise of 14 rows in each c1
    assert [row["ratio"] for row in claim.details] == ["c1", "c2"]


def test_published_numbers_without_intervals_are_shown_and_not_judged():
    published = decomposition_file.load(ROOT / "examples" / "lee2020_simple_cnn.json")
    table = pair().assign(workload=published.workload)
    claim = judged(table, "c1_ratio", [published])[0]
    assert claim.verdict == "cannot tell"
    assert "Predicted 1.69" in claim.reason
    assert claim.value == pytest.approx(1.69 / 1.7, rel=0.06)


def test_decomposition_of_another_workload_is_not_used():
    claim = judged(pair(), "c1_ratio", [decomposition(1.7, 1.1, workload="w2")])[0]
    assert claim.verdict == "cannot tell"
    assert claim.value is None


def test_ties_go_to_the_first_row():
    table = trials_table()
    table.loc[table["status"] == "reached", "steps"] = 500
    rates = [row["learning_rate"] for row in judged(table, "learning_rate_grows")[0].details]
    # one decade under the best, 0.1 of it the grid
    assert np.log10(rates[0] / (1e-3 * 2**0.3)) == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("name", ["learning_rate_inside", "learning_rate_range"])
def test_settings_without_a_column_of_trials_are_trials(name):
    named, settings = judged(trials_table(), name), judged(trials_table().drop(columns="trial"), name)
    assert [claim.verdict for claim in settings] == [claim.verdict for claim in named]
    assert [claim.value for claim in settings] == [claim.value for claim in named]
