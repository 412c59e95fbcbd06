import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparsefit.experiment.engine import InProcess, LocalProcesses
from sparsefit.experiment.progress import Report
from sparsefit.experiment.store import StoreError, open_store
from sparsefit.experiment.sweep import TrialError, run
from sparsefit.experiment.tables import steps_table, trials_table

ARTIFICIAL = Path(__file__).parent / "artificial.py"
COST = ["samples", "seconds"]


class Quiet(Report):
    def __init__(self):
        super().__init__(None, 1)
        self.failures = []

    def failed(self, spec, reason, last):
        self.failures.append((spec.trial, last))


def sweep(store, trial, engine=None):
    report = Quiet()
    left_out = run(store, engine or InProcess(), trial, report)
    return report, left_out


@pytest.fixture
def expected(new_store, artificial):
    """The table of the artificial sweep, run in one go."""
    store = new_store("expected.db")
    sweep(store, artificial.Trial())
    return trials_table(store).drop(columns=COST)


def test_one_and_two_jobs_give_the_same_table(expected, new_store, artificial):
    store = new_store()
    sweep(store, artificial.Trial(1), LocalProcesses(2))
    assert trials_table(store).drop(columns=COST).equals(expected)


def test_the_steps_table_holds_the_best_of_the_full_protocol(new_store, artificial):
    capped, full = new_store("capped.db"), new_store("full.db", cap=False)
    sweep(capped, artificial.Trial())
    sweep(full, artificial.Trial())
    ours, theirs = steps_table(capped), steps_table(full)
    identity = ["sparsity", "batch_size", "status", "steps", "winner", "learning_rate", "momentum"]
    assert ours[identity].equals(theirs[identity])
    assert ours["capped"].sum() > 0
    assert theirs["capped"].sum() == 0
    assert (theirs[["reached", "not_reached", "diverged"]].sum(axis=1) == 6).all()
    assert ours["unfinished"].sum() == 0


def test_resuming_runs_nothing_twice(new_store, artificial):
    store = new_store()
    sweep(store, artificial.Trial())
    report, _ = sweep(store, pytest.fail)
    assert report.done == report.total == 36


def test_more_trials_are_added_to_a_finished_sweep(new_store, artificial):
    small, large = new_store("small.db", trials=3), new_store("large.db", trials=6)
    sweep(small, artificial.Trial())
    small.extend(6)
    sweep(small, artificial.Trial())
    sweep(large, artificial.Trial())
    assert trials_table(small).drop(columns=COST).equals(trials_table(large).drop(columns=COST))


def test_an_error_in_a_trial_stops_the_sweep_by_name_and_keeps_what_ended(new_store, artificial):
    store = new_store()
    trial = artificial.Trial()

    def breaks(spec):
        return artificial.broken(spec) if spec.trial == 2 else trial(spec)

    with pytest.raises(TrialError, match=r"trial 2 at batch size 32, sparsity 0: ValueError"):
        sweep(store, breaks)
    assert len(store.rows()) >= 12


def test_a_trial_whose_process_dies_is_tried_again_then_left_out_and_comes_back_on_resume(
    new_store, artificial, tmp_path
):
    store = new_store(batch_sizes=(8,), sparsities=(0.0,), trials=4)
    crashes = tmp_path / "crashes"
    report, left_out = sweep(store, artificial.Trial(crash_file=str(crashes)), LocalProcesses(2))
    assert [spec.trial for spec in left_out] == [1]
    assert report.failures == [(1, False), (1, True)]
    assert (report.done, report.total) == (3, 4)
    assert crashes.read_text() == "xx"
    assert {row.trial for row in store.rows()} == {0, 2, 3}
    assert sweep(store, artificial.Trial())[1] == []
    assert {row.trial for row in store.rows()} == {0, 1, 2, 3}


def test_a_full_disk_stops_the_sweep_and_a_resume_completes_it(new_store, artificial):
    store, whole = new_store(trials=40), new_store("whole.db", trials=40)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk is full"):
        sweep(store, artificial.Trial())
    store._connection.execute("PRAGMA max_page_count = 100000")
    for each in (store, whole):
        sweep(each, artificial.Trial())
    assert trials_table(store).drop(columns=COST).equals(trials_table(whole).drop(columns=COST))


def start(path, milliseconds):
    command = [sys.executable, str(ARTIFICIAL), str(path), "2", str(milliseconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_after(process, wait):
    """Let a process print for `wait` seconds after its first trial, kill it, and return what it printed."""
    lines = [process.stdout.readline()]
    time.sleep(wait)
    process.kill()
    lines += process.communicate()[0].splitlines(keepends=True)
    return [line.split() for line in lines if line.endswith("\n")]


def test_kill_9_at_random_moments_loses_no_trial_that_was_reported_and_doubles_none(
    new_store, artificial, tmp_path
):
    path = tmp_path / "killed.db"
    rng = random.Random(4)
    reported = set()
    kills = 0
    new_store("killed.db", trials=40).close()
    while kills < 20:
        process = start(path, 8)
        for word, *trial in read_after(process, rng.uniform(0, 0.12)):
            if word == "done":
                reported.add((float(trial[0]), int(trial[1]), int(trial[2])))
        kills += process.returncode == -signal.SIGKILL
        with open_store(path) as store:
            stored = [(*row.study, row.trial) for row in store.rows()]
            assert len(set(stored)) == len(stored)
            assert reported <= set(stored)
            assert all(row.run.end.status for row in store.rows())
        if process.returncode == 0:
            pytest.fail(f"the sweep ended after {kills} kills: give it more trials")
    with open_store(path) as store:
        store.begin_session({})
        sweep(store, artificial.Trial())
        whole = new_store("whole.db", trials=40)
        sweep(whole, artificial.Trial())
        assert trials_table(store).drop(columns=COST).equals(trials_table(whole).drop(columns=COST))


def test_workers_do_not_outlive_a_killed_sweep(new_store, tmp_path):
    new_store("sweep.db", trials=40).close()
    process = start(tmp_path / "sweep.db", 50)
    process.stdout.readline()
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) >= 2
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
