"""The claim that a straight line separates complete from incomplete trials."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sparsefit.fitting.claims_boundary import best_line, restrict
from sparsefit.fitting.validation import validate
from tests.fitting.simulated import hyperbola


def trials_table(complete, *, trials=40, sizes=(16, 64, 256), seed=1, **columns):
    """Trials over learning rate and momentum that reach the goal where `complete` says so."""
    rng = np.random.default_rng(seed)
    rates, momenta = 10 ** rng.uniform(-4, 0, trials), 1 - 10 ** -rng.uniform(0, 3, trials)
    rows = []
    for size, trial in itertools.product(sizes, range(trials)):
        ok = complete(rates[trial], momenta[trial], rng)
        rows.append(
            {
                "batch_size": size,
                "trial": trial,
                "status": "reached" if ok else "not_reached",
                "steps": hyperbola()(size) * (1 + trial) if ok else np.nan,
                "max_steps": 40_000,
                "learning_rate": rates[trial],
                "momentum": momenta[trial],
                **columns,
            }
        )
    return pd.DataFrame(rows)


def judged(table):
    (claim,) = (c for c in validate(table).claims if c.name == "metaparameter_boundary")
    return claim


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_line_and_its_slope_are_found(exponent):
    claim = judged(trials_table(lambda rate, momentum, _: rate < 0.3 * (1 - momentum) ** exponent))
    assert claim.verdict == "holds"
    assert claim.value == 0
    assert claim.p_value == pytest.approx(1 / 300)
    for row in claim.details:
        # 40 points leave gaps of a tenth of the 3 decades of 1 - momentum
        assert row["exponent"] == pytest.approx(exponent, abs=0.25)
    assert (claim.details[0]["misplaced_alone"] == 0) == (exponent == 0)


def test_band_between_two_lines_fails():
    claim = judged(trials_table(lambda rate, momentum, _: 0.02 < rate / (1 - momentum) < 1))
    assert claim.verdict == "fails"
    assert claim.value > 0.1


def test_trials_that_end_at_random_do_not_hold():
    claim = judged(trials_table(lambda rate, momentum, rng: rng.random() < 0.5))
    assert claim.verdict == "fails"
    assert claim.p_value > 0.01


def test_few_trials_that_random_labels_separate_as_well_cannot_tell():
    rows = trials_table(lambda rate, momentum, _: rate < 0.1, trials=7, sizes=(16, 64))
    claim = judged(rows[(rows["batch_size"] == 16) | (rows["status"] == "reached")])
    assert claim.verdict == "cannot tell"


def test_batch_size_with_capped_trials_is_left_out():
    table = trials_table(lambda rate, momentum, _: rate < 0.1)
    table.loc[(table["batch_size"] == 64) & (table["status"] == "not_reached"), "status"] = "capped"
    assert [row["batch_size"] for row in judged(table).details] == [16, 256]
    table["status"] = table["status"].replace("not_reached", "capped")
    claim = judged(table)
    assert claim.verdict == "cannot tell"
    assert "--no-cap" in claim.reason


def test_trials_that_diverged_are_left_out():
    table = trials_table(lambda rate, momentum, _: rate < 0.1)
    table.loc[table["learning_rate"] > 0.5, "status"] = "diverged"
    rows = judged(table).details
    assert [row["trials"] for row in rows] == [int((table["learning_rate"] <= 0.5).sum() / 3)] * 3


@pytest.mark.parametrize(("column", "word"), [("momentum", "momentum"), ("trial", "--trials")])
def test_missing_column_is_named(column, word):
    table = trials_table(lambda rate, momentum, _: rate < 0.1)
    if column == "trial":
        table = table[table["status"] == "reached"].drop_duplicates("batch_size")
    claim = judged(table.drop(columns=column))
    assert claim.verdict == "cannot tell"
    assert word in claim.reason


def test_no_line_passes_between_equal_points():
    places = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    orders = np.arange(4)[None]
    assert best_line(places, np.array([True, False, True, False]), orders).misplaced == 2
    assert best_line(places, np.array([True, True, False, False]), orders).misplaced == 0


def test_orders_of_fewer_trials_are_permutations_and_like_those_of_all():
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(12), (200, 1)), axis=1)
    assert (restrict(orders, np.arange(12)) == orders).all()
    present = np.delete(np.arange(12), 5)
    found = restrict(orders, present)
    assert (np.sort(found, axis=1) == np.arange(11)).all()
    kept = orders[:, present] != 5
    assert (present[found][kept] == orders[:, present][kept]).all()


def test_outcomes_at_random_that_are_alike_at_all_batch_sizes_do_not_hold():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(20):
        rows = []
        rate, momentum = 10 ** rng.uniform(-3, 0, 8), 1 - 10 ** rng.uniform(-3, 0, 8)
        reached = rng.permutation(8) < 4
        for size, count in zip(2.0 ** np.arange(4, 12), [0, 1] * 4, strict=True):
            status = np.where(reached, "reached", "not_reached").astype(object)
            status[rng.choice(8, count, replace=False)] = "diverged"
            rows += [
                {
                    "batch_size": size,
                    "trial": i,
                    "learning_rate": rate[i],
                    "momentum": momentum[i],
                    "status": status[i],
                    "steps": 1000,
                }
                for i in range(8)
            ]
        held += judged(pd.DataFrame(rows)).verdict == "holds"
    assert held <= 2  # at a level of 1 % each
