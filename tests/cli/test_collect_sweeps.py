"""``sparsefit collect`` makes one table of the sweeps of a workload, or says why it cannot."""

import dataclasses

import pandas as pd
import pytest
from click.testing import CliRunner

from sparsefit.cli.collect import command
from sparsefit.errors import InputError
from sparsefit.experiment import workload
from sparsefit.experiment.records import End, Study, TrialEnd, TrialSpec
from sparsefit.experiment.store import Store
from sparsefit.experiment.study import Definition


def collect(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture
def new_sweep(tmp_path):
    """Make sweeps of one study of two trials on digits, finished or without a trial."""
    digits = dataclasses.replace(workload.load("digits"), goal_error=0.06)

    def make(sparsity, finished):
        path = tmp_path / f"{sparsity}-{finished}.db"
        with Store.create(path, Definition(digits, (64,), (sparsity,), trials=2)) as store:
            store.begin_session({})
            for trial in range(2 * finished):
                end = End("reached", 100 + trial)
                run = TrialEnd(end, 64 * end.step, 1.0, 0.1, 1, 1, 1)
                store.add(TrialSpec(Study(sparsity, 64), trial, end.step), run)
        return path

    return make


@pytest.fixture
def swept(new_sweep):
    """Two finished sweeps, one a sparsity."""
    return [new_sweep(0.0, True), new_sweep(0.9, True)]


def test_two_sweeps_of_a_workload_give_one_table(swept, tmp_path):
    for name, options in (("steps.csv", ["--finished"]), ("trials.csv", ["--trials"])):
        result = collect(*swept, *options, "-o", tmp_path / name)
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
    with pytest.raises(InputError, match=said):
        collect(*swept, *options)


def test_a_layout_of_another_name_is_refused_with_those_there_are(swept):
    result = collect(*swept, "--layout", "xml", "-o", "folder")
    assert result.exit_code == 2
    assert "'xml' is not one of 'release', 'shallue'" in result.output


@pytest.mark.parametrize(
    ("finished", "options", "said"),
    [
        (False, ["--finished"], "no study is finished yet"),
        (False, [], "holds no trial yet"),
        (True, ["--repeats"], "do it with: sparsefit repeat"),
    ],
)
def test_tables_that_would_be_empty_say_what_to_do(new_sweep, finished, options, said):
    with pytest.raises(InputError, match=said):
        collect(new_sweep(0.9, finished), *options)


@pytest.mark.parametrize("options", [[], ["--trials"], ["--layout", "release"]])
def test_more_first_trials_than_a_sweep_has_are_told(new_sweep, options, tmp_path):
    sweep = new_sweep(0.9, True)
    said = collect(sweep, "--first", 9, *options, "-o", tmp_path / "more").stderr
    assert f"{sweep} has 2 trials in each study, not the 9 of --first" in said
    assert "--first" not in collect(sweep, "--first", 2, *options, "-o", tmp_path / "all").stderr
