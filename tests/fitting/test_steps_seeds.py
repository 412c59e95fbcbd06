"""Seeds in tables of trials: settings again, searches again, or nothing again."""

import io

import pandas as pd
import pytest

from tests.fitting.test_steps import measure

SEARCHED = "batch_size,trial,lr,seed,steps\n"
FRESH = SEARCHED + "8,0,.1,71,700\n8,1,.2,72,500\n16,0,.1,73,300\n16,1,.3,74,310\n"
"""A random search whose every run has a seed of its own."""


def drop(text, *names):
    return pd.read_csv(io.StringIO(text), dtype=str).drop(columns=list(names)).to_csv(index=False)


@pytest.mark.parametrize("gone", [(), ("lr",), ("trial",)])
@pytest.mark.parametrize("seeds", ["71 72 73 74", "0 1 0 1", "5 6 6 5"])
def test_seeds_of_a_search_that_repeats_nothing_are_no_replicates(gone, seeds):
    text = FRESH
    for old, new in zip(("71", "72", "73", "74"), seeds.split(), strict=True):
        text = text.replace(f",{old},", f",{new},")
    found = measure(drop(text, *gone))
    assert list(found.table.steps) == [500, 300]
    assert found.level == "trials"
    assert any("a 'seed' of its own for each run repeats no search" in note for note in found.warnings)


def test_one_seed_for_all_runs_is_nothing_to_tell_of():
    found = measure("batch_size,trial,seed,steps\n8,0,1,700\n8,1,1,500\n16,0,1,300\n16,1,1,310\n")
    assert list(found.table.steps) == [500, 300]
    assert found.warnings == ()


@pytest.mark.parametrize("gone", [(), ("lr",), ("trial",)])
def test_a_setting_run_with_several_seeds_counts_by_their_mean(gone):
    lines = [
        f"{size},{trial},.{trial + 1},{seed},{1000 + 100 * trial + seed}"
        for size in (8, 16)
        for trial in (0, 1)
        for seed in (0, 1, 2)
    ]
    found = measure(drop(SEARCHED + "\n".join(lines), *gone))
    assert found.table.steps.to_numpy() == pytest.approx(2 * [(1000 * 1001 * 1002) ** (1 / 3)])
    assert any("several values of 'seed' count by the geometric mean" in note for note in found.warnings)


@pytest.mark.parametrize(("missed", "steps"), [("-1", 600), ("-2", 600), ("500", 500)])
def test_a_setting_that_failed_under_a_seed_is_not_the_best(missed, steps):
    lines = [f"8,.1,0,500,900\n8,.1,1,{missed},900", "8,.2,0,600,900\n8,.2,1,600,900", "16,.1,0,300,900"]
    found = measure("batch_size,lr,seed,steps,max_steps\n" + "\n".join(lines))
    assert found.table.steps.to_numpy() == pytest.approx([steps, 300])


def test_settings_that_all_missed_the_goal_under_a_seed_give_a_bound():
    lines = ["8,.1,0,500,900", "8,.1,1,-1,900", "8,.2,0,-1,900", "8,.2,1,-1,900", "16,.1,0,300,900"]
    found = measure("batch_size,lr,seed,steps,max_steps\n" + "\n".join(lines)).table
    assert list(found.censored) == [True, False]
    assert found.steps[0] == pytest.approx((500 * 900) ** 0.5)


def test_a_run_again_of_one_setting_does_not_replace_a_search():
    lines = [f"{size},.{lr},0,{1000 + 100 * lr}" for size in (8, 16, 32) for lr in (1, 2, 3, 4)]
    found = measure("batch_size,lr,seed,steps\n" + "\n".join([*lines, "8,.4,1,1500", "16,.4,1,1500"]))
    assert found.table.steps.to_numpy() == pytest.approx(3 * [1100])


def test_searches_of_unequal_size_are_told_of_within_a_batch_size_too():
    lines = [
        "8,.1,0,500",
        "8,.2,0,600",
        "8,.3,0,700",
        "8,.3,1,900",
        "16,.1,0,300",
        "16,.2,0,400",
        "16,.3,0,350",
    ]
    found = measure("batch_size,lr,replicate,steps\n" + "\n".join(lines))
    assert any("studies have 1 to 3 trials" in note for note in found.warnings)


def test_numbers_of_runs_in_the_place_of_trials_leave_settings_to_the_mean():
    lines = [
        f"8,{2 * trial + seed},.{trial + 1},{seed},{500 + 100 * trial + seed}"
        for trial in (0, 1)
        for seed in (0, 1)
    ]
    assert measure(SEARCHED + "\n".join(lines)).table.steps.to_numpy() == pytest.approx((500 * 501) ** 0.5)


@pytest.mark.parametrize("gone", [("lr",), ("trial",)])
def test_of_runs_that_each_have_a_seed_the_lowest_counts_however_often_a_trial_ran(gone):
    lines = [
        "8,0,.1,11,700",
        "8,0,.1,12,720",
        "8,1,.2,13,500",
        "8,1,.2,14,510",
        "16,0,.1,15,300",
        "16,1,.2,16,310",
    ]
    found = measure(drop(SEARCHED + "\n".join(lines), *gone))
    assert list(found.table.steps) == [500, 300]
    assert any("a 'seed' of its own for each run repeats no search" in note for note in found.warnings)


@pytest.mark.parametrize("name", ["replicate", "rep", "repeat"])
@pytest.mark.parametrize(
    "lines",
    [
        ["0,.10,700", "1,.12,720", "2,.09,650"],  # a winner a search, each with its own rate
        ["0,.10,700", "0,.20,900", "1,.12,720", "1,.07,910", "2,.09,650", "2,.03,990"],  # whole searches
    ],
    ids=["winners", "searches"],
)
def test_what_is_called_replicate_is_one(name, lines):
    found = measure(f"batch_size,{name},lr,steps\n" + "\n".join(f"8,{line}" for line in lines))
    assert sorted(found.table.steps) == [650, 700, 720]


def test_winners_of_replicated_searches_stay_replicates():
    lines = ["8,.1,0,700", "8,.1,1,720", "8,.2,2,650", "16,.2,0,400", "16,.1,1,420", "16,.1,2,410"]
    found = measure("batch_size,lr,seed,steps\n" + "\n".join(lines))
    assert sorted(found.table.steps) == [400, 410, 420, 650, 700, 720]


def test_groups_decide_alone_whether_seeds_replicate():
    text = "model,batch_size,trial,seed,steps\n"
    text += "a,8,0,0,700\na,8,0,1,710\na,8,1,0,500\na,8,1,1,510\nb,8,0,0,70\nb,8,1,1,50\n"
    assert measure(text).table.steps.to_numpy() == pytest.approx([(500 * 510) ** 0.5, 50])
