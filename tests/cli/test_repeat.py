import pandas as pd
import pytest
from click.testing import CliRunner

from sparsefit.cli import group
from sparsefit.errors import SparsefitError

GRID = ("--workload", "digits", "--batch-sizes", "64", "--trials", "2", "--jobs", "1")


def invoke(*arguments):
    return CliRunner().invoke(group, [str(argument) for argument in arguments], catch_exceptions=True)


def message(*arguments):
    """What an expected error says; anything but one is a failure of the test."""
    result = invoke(*arguments)
    assert isinstance(result.exception, SparsefitError), result
    return str(result.exception)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Two finished sweeps on digits, one a sparsity."""
    folder = tmp_path_factory.mktemp("sweeps")
    paths = [folder / "dense.db", folder / "sparse.db"]
    for path, sparsity in zip(paths, (0, 0.9), strict=True):
        result = invoke("sweep", *GRID, "--sparsity", sparsity, "--out", path)
        assert result.exit_code == 0, result.output
    return paths


@pytest.fixture(scope="module")
def repeated(swept):
    """The sparse sweep with its winner repeated twice."""
    result = invoke("repeat", swept[1], "--seeds", 2, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "2 of 2: trial" in result.output
    assert "every winner has its repeats" in result.output
    return swept[1]


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


def test_two_sweeps_of_a_workload_give_one_table(swept, tmp_path):
    for name, options in (("steps.csv", ["--finished"]), ("trials.csv", ["--trials"])):
        result = invoke("collect", *swept, *options, "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
    assert list(pd.read_csv(tmp_path / "steps.csv")["sparsity"]) == [0.0, 0.9]
    assert list(pd.read_csv(tmp_path / "trials.csv")["trial"]) == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trials", "--repeats"], "give one of --trials, --repeats, --curves and --layout"),
        (["--layout", "release", "-o", "folder"], "take one input"),
    ],
)
def test_what_cannot_be_joined_is_said(swept, options, said):
    assert said in message("collect", *swept, *options)


def test_tables_that_would_be_empty_say_what_to_do(new_sweep, swept):
    assert "no study is finished yet" in message("collect", new_sweep, "--finished")
    assert "do it with: sparsefit repeat" in message("collect", swept[0], "--repeats")
    assert "holds no trial yet" in message("collect", new_sweep)
