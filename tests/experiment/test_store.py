import errno
import os
import sqlite3

import numpy as np
import pytest

from sparsefit.errors import InputError
from sparsefit.experiment import store_file
from sparsefit.experiment.records import End, Study, TrialEnd, TrialSpec
from sparsefit.experiment.store import Store, StoreError, open_store

SPEC = TrialSpec(Study(0.9, 16), 3, 640)


def run_of(status="reached", step=64, curve=None):
    return TrialEnd(End(status, step), step * 16, 1.5, 0.25, 4, 600, 500, curve)


def test_what_was_added_is_read_back_from_the_file(new_store, tmp_path):
    curve = np.array([[4, 2.3, 0.9, 2.2], [8, 1.1, 0.5, 1.0]])
    new_store().add(SPEC, run_of(curve=curve))
    with open_store(tmp_path / "sweep.db") as other:
        (row,) = other.rows()
        assert (row.study, row.trial, row.run.end) == (SPEC.study, 3, End("reached", 64))
        assert (row.run.samples, row.run.seconds, row.run.floor, row.runs) == (1024, 1.5, 500, 1)
        assert np.array_equal(row.run.curve, curve)
        assert other.ends()[SPEC.study] == {3: End("reached", 64)}


def test_a_longer_run_of_a_trial_replaces_the_shorter_and_keeps_the_account(new_store):
    store = new_store()
    store.add(SPEC, run_of("capped", 500))
    store.add(SPEC, run_of("reached", 800))
    (row,) = store.rows()
    assert (row.run.end, row.runs, row.total_seconds) == (End("reached", 800), 2, 3.0)


def test_a_file_with_the_table_of_failures_that_sweeps_once_had_goes_on(new_store, tmp_path):
    new_store().close()
    with sqlite3.connect(tmp_path / "sweep.db") as connection:
        connection.execute("CREATE TABLE failures (sparsity, batch_size, trial, reason, failed, session)")
        connection.execute("INSERT INTO failures VALUES (0.9, 16, 3, 'SIGKILL', '2025-01-01', 1)")
    connection.close()
    with open_store(tmp_path / "sweep.db") as again:
        again.begin_session({})
        again.add(SPEC, run_of())
        assert again.ends()[SPEC.study] == {3: End("reached", 64)}


def test_the_definition_comes_back_with_the_order_of_the_search_space(new_store, tmp_path, define):
    definition = define(trials=3)
    new_store(definition=definition)
    with open_store(tmp_path / "sweep.db") as store:
        assert store.definition == definition
        assert list(store.definition.workload.search_space) == list(definition.workload.search_space)
        assert list(store.settings().values()) == definition.settings()


def test_provenance_of_every_session_is_kept(new_store, tmp_path):
    store = new_store()
    store.close()
    with open_store(tmp_path / "sweep.db") as again:
        again.begin_session({"torch": "9"})
        assert again.sessions() == {1: {}, 2: {"torch": "9"}}


def test_a_file_with_another_sweep_is_refused_and_the_difference_named(new_store, define, tmp_path):
    new_store()
    with pytest.raises(
        InputError, match=r"holds another sweep \(batch_sizes: \[8, 16, 32\] there, \[8\] here"
    ):
        Store.create(tmp_path / "sweep.db", define(batch_sizes=(8,)))


def test_a_file_with_the_same_sweep_says_how_to_resume(new_store, define, tmp_path):
    new_store()
    with pytest.raises(InputError, match="--resume"):
        Store.create(tmp_path / "sweep.db", define())


def test_more_trials_keep_what_is_there(new_store):
    store = new_store(trials=2)
    store.add(SPEC._replace(trial=1), run_of())
    store.extend(5)
    assert store.content["trials"] == 5
    assert len(store.settings()) == 5
    assert len(store.rows()) == 1
    with pytest.raises(InputError, match="would drop some"):
        store.extend(4)


def test_a_second_writer_is_refused_while_readers_are_welcome(new_store, tmp_path):
    store = new_store()
    with open_store(tmp_path / "sweep.db") as second:
        with pytest.raises(StoreError, match="in use by another sparsefit sweep"):
            second.begin_session({})
        store.add(SPEC, run_of())
        assert len(second.rows()) == 1
    store.add(SPEC._replace(trial=4), run_of())
    assert len(store.rows()) == 2


def test_a_locked_database_is_reported_and_nothing_is_lost(new_store, tmp_path, monkeypatch):
    monkeypatch.setattr(store_file, "BUSY_SECONDS", 0.05)
    store = new_store()
    store.add(SPEC, run_of())
    blocker = sqlite3.connect(tmp_path / "sweep.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked by another program"):
        store.add(SPEC._replace(trial=4), run_of())
    with pytest.raises(StoreError, match="locked by another program"):
        open_store(tmp_path / "sweep.db")
    blocker.close()
    store.add(SPEC._replace(trial=4), run_of())
    assert [row.trial for row in store.rows()] == [3, 4]


def test_a_full_disk_is_reported_and_nothing_is_lost(new_store):
    store = new_store()
    store.add(SPEC, run_of())
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill():
        for trial in range(4, 2000):
            store.add(SPEC._replace(trial=trial), run_of())

    with pytest.raises(StoreError, match="disk is full"):
        fill()
    stored = len(store.rows())
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.add(SPEC._replace(trial=5000), run_of())
    assert len(store.rows()) == stored + 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"not a database" * 100), "not a SQLite database"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.touch(), "empty"),
        (lambda path: None, "does not exist"),
    ],
    ids=["text", "folder", "empty", "missing"],
)
def test_a_file_that_is_no_sweep_is_refused_by_name(make, message, tmp_path):
    make(tmp_path / "x.db")
    with pytest.raises((InputError, StoreError), match=message):
        open_store(tmp_path / "x.db")


def test_a_database_of_another_program_is_left_alone(tmp_path, define):
    path = tmp_path / "x.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE trials (x)")
    other.close()
    before = path.read_bytes()
    for use in (open_store, lambda path: Store.create(path, define())):
        with pytest.raises(InputError, match="another program"):
            use(path)
    assert path.read_bytes() == before


def test_a_newer_schema_asks_for_a_newer_sparsefit(new_store, tmp_path):
    new_store().close()
    with sqlite3.connect(tmp_path / "sweep.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InputError, match="update sparsefit"):
        open_store(tmp_path / "sweep.db")


def test_a_damaged_file_is_reported(new_store, tmp_path):
    store = new_store()
    for trial in range(300):
        store.add(SPEC._replace(trial=trial), run_of())
    store.close()
    path = tmp_path / "sweep.db"
    content = bytearray(path.read_bytes())
    content[4096 * 4 : 4096 * 9] = b"\xff" * 4096 * 5
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        open_store(path)


def test_a_definition_changed_by_hand_is_noticed(new_store, tmp_path):
    new_store().close()
    with sqlite3.connect(tmp_path / "sweep.db") as connection:
        connection.execute("UPDATE definition SET json = replace(json, '0.06', '0.05')")
    connection.close()
    with pytest.raises(StoreError, match="checksum"):
        open_store(tmp_path / "sweep.db")


def test_a_folder_that_does_not_exist_is_named(tmp_path, define):
    with pytest.raises(StoreError, match="folder must exist"):
        Store.create(tmp_path / "nowhere" / "sweep.db", define())


@pytest.mark.parametrize(
    ("statement", "use", "said"),
    [
        ("UPDATE definition SET json = substr(json, 2)", lambda s: s, "checksum"),
        ("UPDATE settings SET metaparameters = '{'", Store.settings, "not JSON"),
        ("UPDATE settings SET metaparameters = '3'", Store.settings, "in the place of an object"),
        ("DELETE FROM settings WHERE trial = 1", Store.settings, "trial 1 has no metaparameters"),
        ("UPDATE sessions SET provenance = ''", Store.sessions, "not JSON"),
        ("UPDATE trials SET batch_size = 5", Store.ends, "a study that is not in the grid"),
    ],
)
def test_damage_that_sqlite_does_not_see_is_reported(new_store, tmp_path, statement, use, said):
    store = new_store()
    store.add(SPEC, run_of())
    store.close()
    with sqlite3.connect(tmp_path / "sweep.db") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(StoreError, match=said), open_store(tmp_path / "sweep.db") as again:
        use(again)


def test_a_disk_without_locks_is_told_from_a_sweep_that_runs(tmp_path, define, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with Store.create(tmp_path / "new.db", define()) as store:
        monkeypatch.setattr("fcntl.flock", no_locks)
        with pytest.raises(StoreError, match=r"cannot be locked for writing.*a disk that knows locks"):
            store.begin_session({})
