import pandas as pd
import pytest

from tests.cli.invoking import invoke, message

GRID = ("--workload", "digits", "--batch-sizes", "64", "--sparsity", "0.9", "--trials", "2", "--jobs", "1")


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    """A finished sweep on digits with its winner repeated twice."""
    path = tmp_path_factory.mktemp("sweeps") / "sparse.db"
    result = invoke("sweep", *GRID, "--out", path)
    assert result.exit_code == 0, result.output
    result = invoke("repeat", path, "--seeds", 2, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "2 of 2: trial" in result.output
    assert "every winner has its repeats" in result.output
    return path


def test_repeats_become_a_table_of_replicates(repeated, tmp_path):
    assert invoke("collect", repeated, "--repeats", "-o", tmp_path / "seeds.csv").exit_code == 0
    table = pd.read_csv(tmp_path / "seeds.csv")
    assert list(table["replicate"]) == [0, 1]
    assert (table["winner_steps"] > 0).all()


def test_the_same_command_runs_nothing_twice(repeated):
    result = invoke("repeat", repeated, "--seeds", 2, "--jobs", 1)
    assert result.exit_code == 0
    assert " of " not in result.output


def test_a_sweep_without_a_finished_study_cannot_be_repeated(new_sweep):
    assert "has no finished study that reached its goal; go on with: sparsefit sweep --resume" in message(
        "repeat", new_sweep
    )


@pytest.fixture
def new_sweep(tmp_path):
    """A sweep in which no trial has run."""
    from sparsefit.experiment import workload
    from sparsefit.experiment.store import Store
    from sparsefit.experiment.study import Definition

    path = tmp_path / "new.db"
    Store.create(path, Definition(workload.load("digits"), (64,), (0.9,), 2)).close()
    return path
