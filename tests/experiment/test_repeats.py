import pytest

from sparsefit.experiment import repeats
from sparsefit.experiment.data import ExampleOrder
from sparsefit.experiment.engine import Failure
from sparsefit.experiment.records import End, RepeatSpec, Study, TrialEnd, TrialSpec
from sparsefit.experiment.runner import TrialRunner
from sparsefit.experiment.sweep import TrialError
from sparsefit.fitting.columns import find_columns
from sparsefit.fitting.reading import as_text
from sparsefit.fitting.steps import measure_steps


class InOrder:
    """An engine that runs one spec after the other, here."""

    def map(self, function, specs):
        yield from ((spec, function(spec)) for spec in specs)


def end(status, step):
    return TrialEnd(End(status, step), 8 * step, 1.0, 0.1, 1, 1, 1)


@pytest.fixture
def store(new_store):
    """Batch size 8 is won by trial 1 at 300, 16 by trial 0 at 900, 32 is not finished."""
    store = new_store(batch_sizes=(8, 16, 32), sparsities=(0.9,), trials=2, eval_interval=5, max_steps=2000)
    for size, ends in ((8, [("reached", 400), ("reached", 300)]), (16, [("reached", 900), ("diverged", 3)])):
        for trial, found in enumerate(ends):
            store.add(TrialSpec(Study(0.9, size), trial, 2000), end(*found))
    store.add(TrialSpec(Study(0.9, 32), 0, 2000), end("reached", 100))
    return store


def run(store, seeds, function=lambda spec: end("reached", 10 * (spec.seed % 1000 + 1))):
    """Repeat, and return the specs that ran."""
    ran = []
    specs = repeats.missing(store, seeds)
    repeats.run(store, InOrder(), function, specs, lambda spec, _: ran.append(spec), pytest.fail)
    return ran


def test_winners_of_finished_studies_are_repeated_with_patience_the_cheaper_study_first(store):
    assert run(store, 2) == [
        RepeatSpec(Study(0.9, 8), 1, 1200, 1_000_000),
        RepeatSpec(Study(0.9, 8), 1, 1200, 1_000_001),
        RepeatSpec(Study(0.9, 16), 0, 2000, 1_000_000),
        RepeatSpec(Study(0.9, 16), 0, 2000, 1_000_001),
    ]


def test_what_is_stored_is_not_run_again_and_more_seeds_add_to_it(store):
    assert len(run(store, 1)) == 2
    assert run(store, 1) == []
    assert [spec.seed for spec in run(store, 2)] == [1_000_001, 1_000_001]


def test_the_table_has_a_replicate_a_row_that_the_fit_pools(store):
    run(store, 3, lambda spec: end("reached", 250) if spec.seed % 2 else end("capped", spec.limit))
    table = repeats.repeats_table(store)
    assert list(table["batch_size"]) == [8] * 3 + [16] * 3
    assert list(table["replicate"]) == [0, 1, 2] * 2
    assert list(table["status"][:3]) == ["capped", "reached", "capped"]
    assert list(table["max_steps"][:3]) == [1200, 2000, 1200]
    assert list(table["winner_steps"]) == [300] * 3 + [900] * 3
    assert list(table["learning_rate"][:3]) == [store.settings()[1]["learning_rate"]] * 3
    cells = as_text(table)
    measured = measure_steps(cells, find_columns(cells))
    assert measured.level == "steps-to-result"
    assert list(measured.table["censored"]) == [True, False, True] * 2


def test_repeats_of_a_winner_that_was_beaten_leave_the_table(store):
    run(store, 1)
    store.extend(3)
    for size in (8, 16):
        store.add(TrialSpec(Study(0.9, size), 2, 2000), end("reached", 350))
    table = repeats.repeats_table(store)
    assert list(table["batch_size"]) == [8]
    assert [spec.trial for spec in repeats.missing(store, 1)] == [2]


def test_without_a_repeat_the_table_is_empty(store):
    assert repeats.repeats_table(store).empty


def test_an_error_stops(store):
    with pytest.raises(TrialError, match=r"batch size 8, sparsity 0\.9, seed 1000000: shapes"):
        run(store, 1, lambda spec: Failure("shapes", crashed=False))


def test_a_repeat_whose_worker_dies_is_tried_again_then_left_out(store):
    small, large = repeats.missing(store, 1)
    died = {small: 2, large: 1}
    told, ended = [], []

    def function(spec):
        died[spec] -= 1
        return Failure("died", crashed=True) if died[spec] >= 0 else end("reached", 50)

    left_out = repeats.run(
        *(store, InOrder(), function, [small, large]),
        lambda spec, _: ended.append(spec),
        lambda spec, reason, last: told.append((spec, reason, last)),
    )
    assert told == [(small, "died", False), (large, "died", False), (small, "died", True)]
    assert (left_out, ended) == ([small], [large])
    assert list(repeats.repeats_table(store)["batch_size"]) == [large.study.batch_size]


def test_a_fresh_order_keeps_the_split_and_differs_from_the_first_epoch_on():
    released, fresh = ExampleOrder(100), ExampleOrder(100, epochs=1)
    assert (released.validation == fresh.validation).all()
    assert (released.pruning == fresh.pruning).all()
    assert (next(released.batches(90)) != next(fresh.batches(90))).any()


def test_a_repeat_trains_its_setting_from_its_own_seed(define):
    runner = TrialRunner(define(batch_sizes=(32,), trials=2, curves=True))
    interval = runner.definition.workload.eval_interval
    specs = [RepeatSpec(Study(0.9, 32), 1, interval, seed) for seed in (1_000_000, 1_000_001)]
    losses = [runner(spec).curve[:, 1].tolist() for spec in specs]
    assert losses[0] != losses[1]
    assert [runner(spec).curve[:, 1].tolist() for spec in specs] == losses
