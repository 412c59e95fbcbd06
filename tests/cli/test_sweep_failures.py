"""A disk that is full, a file that is locked or someone else's: a clear message, and nothing lost."""

import os
import resource
import sqlite3
import subprocess
import sys

import pytest

from sparsefit.experiment import store_file, workload
from sparsefit.experiment.records import End, Study, TrialEnd, TrialSpec
from sparsefit.experiment.store import Store, open_store
from sparsefit.experiment.study import Definition
from tests.cli.invoking import message

PAGE = 4096


def new(path, trials=60):
    """Make the file of a sweep that no trial was run of."""
    Store.create(path, Definition(workload.load("digits"), (64,), (0.9,), trials)).close()
    return path


def stored(path):
    with open_store(path) as store:
        return {row.trial: row.run.end for row in store.rows()}


def resume(path, limit=resource.RLIM_INFINITY):
    """Resume a sweep in a process that may not write files of more than `limit` bytes."""
    return subprocess.run(
        [sys.executable, "-m", "sparsefit", "sweep", "--resume", str(path), "--jobs", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def test_an_instruction_set_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "new.db"
    found = subprocess.run(
        [sys.executable, "-m", "sparsefit", "sweep", "--workload", "digits", "--out", str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"COLUMNS": "200", "SPARSEFIT_FORCE_ISA": "sse9"},
    )
    assert found.returncode == 1
    assert "SPARSEFIT_FORCE_ISA is 'sse9'" in found.stderr
    assert "Traceback" not in found.stderr
    assert not path.exists()


def test_a_full_disk_keeps_every_committed_trial_and_the_sweep_goes_on_when_there_is_space(tmp_path):
    path = new(tmp_path / "full.db")
    failed = resume(path, path.stat().st_size + PAGE)
    assert failed.returncode == 1, failed.stderr
    assert f"what has ended is safe in {path}" in failed.stderr
    assert "the disk is full or reports an error; free some space" in failed.stderr
    assert "Traceback" not in failed.stderr
    before = stored(path)
    assert before
    assert len(before) < 60
    done = resume(path)
    assert done.returncode == 0, done.stderr
    assert "60 of 60 trials" in done.stderr
    after = stored(path)
    assert len(after) == 60
    assert {trial: after[trial] for trial in before} == before


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_database_that_another_process_locks_is_named_and_usable_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(store_file, "BUSY_SECONDS", 0.05)
    path = new(tmp_path / "locked.db")
    spec = TrialSpec(Study(0.9, 64), 0, 2000)
    with open_store(path) as store:
        store.begin_session({})
        store.add(spec, TrialEnd(End("reached", 64), 4096, 1.0, 0.1, 32, 600, 500))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        for arguments in (["sweep", "--resume", path], ["collect", path]):
            assert "locked by another program" in message(*arguments)
        holder.communicate("")
    assert stored(path) == {0: End("reached", 64)}


def test_a_file_that_another_sweep_writes_is_refused(tmp_path):
    path = new(tmp_path / "busy.db")
    with open_store(path) as store:
        store.begin_session({})
        assert "in use by another sparsefit sweep" in message("sweep", "--resume", path)


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trials (x)")
    connection.close()


def newer(path):
    new(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (foreign, "a SQLite database of another program"),
        (newer, "has schema 99, this sparsefit reads up to 1; update sparsefit"),
        (lambda path: path.write_bytes(b"not a database" * 500), "not a SQLite database"),
    ],
    ids=["foreign", "newer", "text"],
)
def test_a_file_of_others_is_refused_by_every_command_and_left_as_it_is(make, words, tmp_path):
    path = tmp_path / "x.db"
    make(path)
    before = path.read_bytes()
    start = ["--workload", "digits", "--batch-sizes", "64", "--trials", "1", "--out", path]
    for arguments in (["sweep", *start], ["sweep", "--resume", path], ["collect", path]):
        assert words in message(*arguments)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"goal_error = ", "mine.toml"), (b"\xff\xfe\x00", "mine.toml"), (None, "mine.toml")],
)
def test_a_study_file_that_cannot_be_read_is_named_before_anything_is_written(content, words, tmp_path):
    study = tmp_path / "mine.toml"
    study.mkdir() if content is None else study.write_bytes(content)
    assert words in message("sweep", "--workload", study, "--out", tmp_path / "x.db")
    assert not (tmp_path / "x.db").exists()
