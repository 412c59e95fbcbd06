import random

import pytest

from sparsefit.experiment.records import End, Study
from sparsefit.experiment.schedule import Schedule, budgets, limits, settle

MAX_STEPS, INTERVAL = 40_000, 16


def outcome(true_end, limit):
    """How a trial ends when run up to `limit`, given how it would end without any."""
    if true_end.step <= limit:
        return true_end
    return End("capped", limit)


def random_study(rng, trials):
    """True ends of a study's trials: reached at a multiple of the interval, diverged anywhere, or never."""
    ends = []
    for _ in range(trials):
        kind = rng.random()
        if kind < 0.4:
            ends.append(End("reached", INTERVAL * rng.randint(1, MAX_STEPS // INTERVAL)))
        elif kind < 0.6:
            ends.append(End("diverged", rng.randint(1, MAX_STEPS)))
        else:
            ends.append(End("not_reached", MAX_STEPS))
    return ends


def play(truth, trials, jobs, rng, cap=True, stop_after=None):
    """Run all studies with `jobs` trials at a time that end in random order; return the schedule and the
    runs."""
    steps = budgets(MAX_STEPS, INTERVAL, cap=cap)
    schedule = Schedule(truth, trials, steps, cap=cap)
    running, runs = [], []
    while not schedule.is_finished:
        while len(running) < jobs and (spec := schedule.next()):
            running.append(spec)
        spec = running.pop(rng.randrange(len(running)))
        schedule.states[spec.study].end(spec.trial, outcome(truth[spec.study][spec.trial], spec.limit))
        runs.append(spec)
    assert not running
    return schedule, runs


def table(schedule, trials, cap=True):
    steps = budgets(MAX_STEPS, INTERVAL, cap=cap)
    return {
        study: [
            settle(state.ends[t], limit) for t, limit in enumerate(limits(state.ends, trials, steps, cap=cap))
        ]
        for study, state in schedule.states.items()
    }


def best(ends):
    return min((end.step for end in ends if end.status == "reached"), default=None)


def test_budgets_grow_fourfold_to_the_maximal_steps_and_are_multiples_of_the_interval():
    assert budgets(40_000, 16) == (640, 2512, 10_000, 40_000)
    assert budgets(100, 10) == (100,)
    assert budgets(40_000, 16, cap=False) == (40_000,)


@pytest.mark.parametrize("seed", range(20))
def test_the_table_does_not_depend_on_jobs_or_on_the_order_in_which_trials_end(seed):
    rng = random.Random(seed)
    truth = {Study(s, b): random_study(rng, 9) for s in (0.0, 0.9) for b in (16, 64)}
    expected = table(play(truth, 9, 1, rng)[0], 9)
    for jobs in (2, 5, 30):
        assert table(play(truth, 9, jobs, rng)[0], 9) == expected


@pytest.mark.parametrize("seed", range(20))
def test_caps_change_neither_the_best_step_nor_any_end_that_counts(seed):
    rng = random.Random(100 + seed)
    truth = {Study(0.0, 16): random_study(rng, 12)}
    full = table(play(truth, 12, 1, rng, cap=False)[0], 12, cap=False)
    capped = table(play(truth, 12, 2, rng)[0], 12)
    for study, ends in capped.items():
        assert full[study] == truth[study]
        assert best(ends) == best(truth[study])
        for end, true_end in zip(ends, truth[study], strict=True):
            if end.status == "capped":
                assert true_end.step > end.step
                assert end.step >= best(truth[study])
            else:
                assert end == true_end


def test_without_any_success_every_trial_runs_to_the_maximal_steps():
    truth = {Study(0.5, 32): [End("not_reached", MAX_STEPS)] * 3 + [End("diverged", 5)]}
    schedule, runs = play(truth, 4, 2, random.Random(0))
    assert table(schedule, 4)[Study(0.5, 32)] == truth[Study(0.5, 32)]
    assert sum(spec.limit for spec in runs if spec.trial == 0) < 1.34 * MAX_STEPS
    assert sum(spec.trial == 3 for spec in runs) == 1


def test_a_hopeless_first_trial_does_not_cost_the_maximal_steps():
    truth = {Study(0.0, 16): [End("not_reached", MAX_STEPS)] * 3 + [End("reached", 480)] * 7}
    _, runs = play(truth, 10, 1, random.Random(0))
    assert sum(min(spec.limit, truth[spec.study][spec.trial].step) for spec in runs) == 3 * 640 + 7 * 480


def test_every_study_has_its_first_trials_before_any_has_more():
    studies = {Study(s, b): [End("reached", 160)] * 4 for s in (0.0, 0.9) for b in (16, 32, 64)}
    _, runs = play(studies, 4, 1, random.Random(0))
    assert [spec.trial for spec in runs] == [trial for trial in range(4) for _ in studies]


def test_a_trial_as_good_as_the_best_counts_as_reached():
    ends = {0: End("reached", 160), 1: End("reached", 160), 2: End("capped", 160)}
    found = [settle(ends[t], limit) for t, limit in enumerate(limits(ends, 3, (640,)))]
    assert found == [End("reached", 160), End("reached", 160), End("capped", 160)]


def test_a_trial_that_is_given_up_does_not_hold_the_others_back():
    schedule = Schedule([Study(0.0, 8)], 2, (100, 400))
    first, second = schedule.next(), schedule.next()
    assert schedule.next() is None
    state = schedule.states[Study(0.0, 8)]
    state.give_up(first.trial)
    state.end(second.trial, End("capped", 100))
    third = schedule.next()
    assert (third.trial, third.limit) == (second.trial, 400)
    state.end(third.trial, End("reached", 200))
    assert schedule.is_finished
    assert state.n_settled == 1, "a trial that did not run counts as done"


def test_a_trial_that_is_put_back_comes_again_with_the_limit_of_that_time():
    schedule = Schedule([Study(0.0, 8)], 2, (400,))
    first, second = schedule.next(), schedule.next()
    state = schedule.states[Study(0.0, 8)]
    state.end(first.trial, End("reached", 120))
    state.put_back(second.trial)
    assert schedule.next() == second._replace(limit=120)
