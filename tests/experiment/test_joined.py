import dataclasses

import pytest

from sparsefit.errors import InputError
from sparsefit.experiment import workload
from sparsefit.experiment.joined import count_open, join
from sparsefit.experiment.records import End, Study, TrialEnd, TrialSpec
from sparsefit.experiment.store import Store
from sparsefit.experiment.study import Definition
from sparsefit.experiment.tables import steps_table, trials_table


def fill(store, *, trials=2, late=0, seconds=1.0, checks=1):
    """End every trial of every study at once; `late` moves the steps."""
    for sparsity in store.content["sparsities"]:
        for size in store.content["batch_sizes"]:
            for trial in range(trials):
                end = End("reached", 100 + size + trial + late)
                run = TrialEnd(end, end.step * size * checks, seconds, 0.1, checks, checks, checks)
                store.add(TrialSpec(Study(sparsity, size), trial, end.step), run)
    return store.path


def test_sweeps_over_different_sparsities_give_one_ordered_table(new_store):
    ends = fill(new_store("ends.db", sparsities=(0.0, 0.9), trials=2))
    middle = fill(new_store("middle.db", sparsities=(0.5,), trials=2))
    steps = join([ends, middle], steps_table)
    assert list(steps["sparsity"]) == [0.0] * 3 + [0.5] * 3 + [0.9] * 3
    assert list(steps["batch_size"]) == [8, 16, 32] * 3
    assert len(join([middle, ends], trials_table)) == 18
    assert join([middle, ends], steps_table).equals(steps)


def test_the_table_of_one_sweep_is_its_own(new_store):
    path = fill(new_store(trials=2))
    assert len(join([path], steps_table)) == 6


def test_a_study_in_two_files_counts_once_whatever_it_cost(new_store):
    one = fill(new_store("one.db", trials=2))
    other = fill(new_store("other.db", sparsities=(0.9,), trials=2), seconds=7.0, checks=3)
    assert len(join([one, other], trials_table)) == 12


def test_a_study_agrees_with_itself_beside_others_that_no_setting_won(new_store):
    w4 = dataclasses.replace(workload.load("w4"), batch_sizes=(8, 16), sparsities=(0.0,), trials=2)
    one, other = (
        new_store(name, Definition(w4, sizes, (0.0,), 2))
        for name, sizes in (("a.db", (8,)), ("b.db", (8, 16)))
    )
    fill(one)
    fill(other)
    for trial in range(2):
        missed = TrialEnd(End("not_reached", 40_000), 1, 1.0, 0.1, 1, 1, 1)
        other.add(TrialSpec(Study(0.0, 16), trial, 40_000), missed)
    table = join([one.path, other.path], steps_table)
    assert str(table["decay_steps"].dtype) == "Int64"
    assert table["decay_steps"].dropna().tolist() == [one.settings()[0]["decay_steps"]]


def test_two_files_that_disagree_on_a_study_are_refused(new_store):
    one = fill(new_store("one.db", trials=2))
    other = fill(new_store("other.db", trials=2), late=4)
    with pytest.raises(
        InputError,
        match=r"disagree on the study at \(sparsity, batch size\) \(0.0, 8\);.*leave out the older",
    ):
        join([one, other], steps_table)


@pytest.mark.parametrize("change", [{"goal_error": 0.5}, {"backend": "dense"}, {"cap": False}])
def test_sweeps_that_differ_in_more_than_their_grid_are_refused(new_store, change):
    one = fill(new_store("one.db", sparsities=(0.0,), trials=2))
    other = fill(new_store("other.db", sparsities=(0.9,), trials=2, **change))
    with pytest.raises(InputError, match=f"different workloads .*{next(iter(change))}"):
        join([one, other], steps_table)


def test_only_finished_studies_leaves_the_others_out(new_store):
    store = new_store(batch_sizes=(8, 16), sparsities=(0.9,), trials=2)
    fill(store, trials=1)
    run = TrialEnd(End("reached", 500), 4000, 1.0, 0.1, 1, 1, 1)
    store.add(TrialSpec(Study(0.9, 8), 1, 500), run)
    assert list(join([store.path], steps_table)["unfinished"]) == [0, 1]
    assert list(join([store.path], steps_table, finished=True)["batch_size"]) == [8]
    assert list(join([store.path], trials_table, finished=True)["batch_size"]) == [8, 8]


def test_sweeps_without_a_trial_give_an_empty_table(new_store):
    assert join([new_store().path], steps_table, finished=True).empty


def test_the_first_trials_count_as_a_sweep_of_so_many(new_store):
    store = new_store(batch_sizes=(8,), sparsities=(0.9,), trials=4)
    for trial, end in enumerate([End("diverged", 4), End("reached", 120), End("reached", 100)]):
        store.add(TrialSpec(Study(0.9, 8), trial, 200), TrialEnd(end, 8 * end.step, 1.0, 0.1, 1, 1, 1))
    found = join([store.path], steps_table, first=2)
    assert found[["steps", "winner", "trials", "unfinished"]].values.tolist() == [[120, 1, 2, 0]]
    assert list(join([store.path], trials_table, first=2, finished=True)["trial"]) == [0, 1]
    assert join([store.path], steps_table, first=9).equals(join([store.path], steps_table))


def test_trials_that_have_not_begun_have_not_ended(new_store):
    begun = new_store("begun.db", batch_sizes=(8, 16), sparsities=(0.0,), trials=3)
    begun.add(TrialSpec(Study(0.0, 8), 0, 100), TrialEnd(End("reached", 100), 800, 1.0, 0.1, 1, 1, 1))
    assert count_open([begun.path]) == 5
    assert count_open([begun.path], first=1) == 1
    other = fill(new_store("other.db", batch_sizes=(8, 32), sparsities=(0.0,), trials=3), trials=3)
    assert count_open([begun.path, other]) == 3


def test_sweeps_of_a_model_that_changed_between_them_are_refused(define, tmp_path):
    paths = []
    for sparsity, digest in ((0.0, "ab"), (0.9, "cd")):
        with Store.create(tmp_path / f"{digest}.db", define(sparsities=(sparsity,), trials=2)) as store:
            store.begin_session({"model": digest})
            paths.append(fill(store))
    with pytest.raises(InputError, match="other layers or initial weights"):
        join(paths, steps_table)
