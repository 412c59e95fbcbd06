import pandas as pd
import pytest

from sparsefit.experiment.records import End, Study, TrialEnd, TrialSpec
from sparsefit.experiment.tables import steps_table, trials_table


def add(store, batch_size, trial, status, step, sparsity=0.9):
    run = TrialEnd(End(status, step), step * batch_size, 1.0, 0.1, 1, 1, 1)
    store.add(TrialSpec(Study(sparsity, batch_size), trial, step), run)


@pytest.fixture
def store(new_store):
    """Digits (2,000 steps, budgets 125, 500, 2,000): one study with a winner, one without, one unfinished."""
    store = new_store(batch_sizes=(8, 16, 32), sparsities=(0.9,), trials=4, eval_interval=5, max_steps=2000)
    for trial, end in enumerate([("diverged", 3), ("reached", 400), ("reached", 300), ("capped", 300)]):
        add(store, 8, trial, *end)
    for trial in range(3):
        add(store, 16, trial, "not_reached", 2000)
    add(store, 16, 3, "diverged", 40)
    add(store, 32, 0, "capped", 500)
    return store


def test_the_steps_table_names_the_winner_and_counts_trials_by_status(store):
    table = steps_table(store).set_index("batch_size")
    winner = table.loc[8]
    assert (winner["status"], winner["steps"], winner["winner"], winner["max_steps"]) == (
        "reached",
        300,
        2,
        2000,
    )
    assert winner["learning_rate"] == store.settings()[2]["learning_rate"]
    counts = ["reached", "not_reached", "diverged", "capped", "unfinished"]
    assert list(winner[counts]) == [2, 0, 1, 1, 0]


def test_a_study_without_success_is_censored_at_the_maximal_steps(store):
    missed = steps_table(store).set_index("batch_size").loc[16]
    assert missed["status"] == "not_reached"
    assert pd.isna(missed["steps"])
    assert pd.isna(missed["winner"])
    assert missed["max_steps"] == 2000
    assert (missed["not_reached"], missed["diverged"], missed["unfinished"]) == (3, 1, 0)


def test_an_unfinished_study_is_censored_where_its_trials_are(store):
    part = steps_table(store).set_index("batch_size").loc[32]
    assert (part["status"], part["max_steps"], part["unfinished"]) == ("not_reached", 500, 4)


def test_a_study_of_which_every_trial_diverged_says_so(new_store):
    store = new_store(batch_sizes=(8,), sparsities=(0.9,), trials=2)
    add(store, 8, 0, "diverged", 3)
    assert steps_table(store)["status"][0] == "not_reached"
    add(store, 8, 1, "diverged", 5)
    assert steps_table(store)["status"][0] == "diverged"


def test_trials_carry_the_number_of_their_study_that_have_not_ended(store):
    counts = trials_table(store).groupby("batch_size")["unfinished"].unique()
    assert {size: list(found) for size, found in counts.items()} == {8: [0], 16: [0], 32: [4]}


def test_trials_have_steps_only_if_they_reached_the_goal_and_capped_ones_their_own_censoring(store):
    table = trials_table(store)
    assert list(table.columns[:7]) == [
        "workload",
        "dataset",
        "model",
        "optimizer",
        "schedule",
        "goal_error",
        "comparison",
    ]
    first = table[table["batch_size"] == 8].set_index("trial")
    assert list(first["status"]) == ["diverged", "reached", "reached", "capped"]
    assert list(first["steps"].isna()) == [True, False, False, True]
    assert list(first["max_steps"]) == [2000, 2000, 2000, 300]
    assert list(first["init_seed"]) == [0, 1, 2, 3]


def test_what_was_seen_past_the_step_that_counts_is_not_shown(new_store):
    store = new_store(batch_sizes=(8,), sparsities=(0.9,), trials=3, eval_interval=5, max_steps=2000)
    # Two trials ran at a time: trial 1 did not know yet that trial 0 would end at 200.
    for trial, step in enumerate([200, 450, 200]):
        add(store, 8, trial, "reached", step)
    table = trials_table(store)
    assert list(table["status"]) == ["reached", "capped", "reached"]
    assert list(table["max_steps"]) == [2000, 200, 2000]
    assert steps_table(store)["winner"].item() == 0


def test_a_store_without_trials_gives_an_empty_table(new_store):
    store = new_store()
    assert steps_table(store).empty
    assert trials_table(store).empty
