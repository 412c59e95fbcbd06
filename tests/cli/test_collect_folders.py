"""``sparsefit collect`` reads the folders of others into a table that the fit accepts."""

import dataclasses
import io
import json
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner

from sparsefit.cli import group
from sparsefit.cli.collect import command
from sparsefit.errors import InputError
from sparsefit.experiment import workload
from sparsefit.experiment.records import End, Study, TrialEnd, TrialSpec
from sparsefit.experiment.store import Store
from sparsefit.experiment.study import Definition
from sparsefit.fitting.columns import find_columns
from sparsefit.fitting.steps import measure_steps


@pytest.fixture
def folder(tmp_path):
    """Make a Shallue study of one trial that passes an error of 0.02 at step 200."""
    study = tmp_path / "mnist" / "simple_cnn" / "sgd" / "64"
    trial = study / "0"
    trial.mkdir(parents=True)
    (study / "study.json").write_text(
        json.dumps(
            {
                "batch_size": 64,
                "dataset": "mnist",
                "model": "simple_cnn",
                "optimizer": "sgd",
                "train_steps": 1000,
                "early_stopping": False,
                "parameter_configs": {},
            }
        )
    )
    (trial / "metadata.json").write_text(
        json.dumps({"parameters": {"learning_rate": 0.1}, "status": "COMPLETE", "steps": 1000, "trial_id": 0})
    )
    (trial / "measurements.csv").write_text("step,val/classification_error\n100,0.05\n200,0.01\n1000,0.005\n")
    return tmp_path


@pytest.fixture
def new_sweep(tmp_path):
    """Make a sweep of two studies of two trials, the second study without its last one."""
    digits = dataclasses.replace(workload.load("digits"), goal_error=0.06)
    path = tmp_path / "sweep.db"
    with Store.create(path, Definition(digits, batch_sizes=(8, 16), sparsities=(0.9,), trials=2)) as store:
        store.begin_session({})
        for size, trial in ((8, 0), (8, 1), (16, 0)):
            end = End("reached", 100 + size + trial)
            run = TrialEnd(end, end.step * size, 1.0, 0.1, 1, 1, 1)
            store.add(TrialSpec(Study(0.9, size), trial, end.step), run)
    return path


def test_a_folder_becomes_a_table_that_measures_the_step_of_the_goal(folder):
    result = CliRunner().invoke(command, [str(folder), "--goal-error", "0.02"], catch_exceptions=False)
    table = pd.read_csv(io.StringIO(result.stdout), dtype=str, keep_default_na=False)
    rows = measure_steps(table, find_columns(table)).table
    assert list(rows.batch_size) == [64]
    assert list(rows.steps) == [200]


def test_a_folder_without_a_goal_asks_for_one(folder):
    with pytest.raises(InputError, match="--goal-error"):
        CliRunner().invoke(command, [str(folder)], catch_exceptions=False)


def test_a_folder_without_studies_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no study\.json"):
        CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)


def collect(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False)


@pytest.mark.parametrize("goal", ["2", "0", "-1", "inf", "nan"])
def test_a_goal_that_is_no_error_rate_is_refused(folder, goal):
    with pytest.raises(InputError, match="above 0 and below 1, not percent"):
        collect(folder, "--goal-error", goal)


def test_a_sweep_knows_its_own_goal(new_sweep):
    for option in (("--goal-error", "0.2"), ("--max-steps", "7")):
        with pytest.raises(InputError, match="a sweep has both in its definition"):
            collect(new_sweep, *option)


def test_a_folder_without_curves_answers_for_its_own_goal_only(new_sweep, tmp_path):
    assert collect(new_sweep, "--layout", "shallue", "-o", tmp_path / "shallue").exit_code == 0
    own = pd.read_csv(io.StringIO(collect(tmp_path / "shallue").stdout))
    assert set(own["steps"].dropna()) == {108, 116}
    assert "bound" not in own
    with pytest.raises(InputError, match=r"without its curve.*its own goal, 0\.06"):
        collect(tmp_path / "shallue", "--goal-error", "0.2")
    assert collect(new_sweep, "--layout", "release", "-o", tmp_path / "release").exit_code == 0
    with pytest.raises(InputError, match=r"steps to its own goal, 0\.06.*leave out --goal-error"):
        collect(tmp_path / "release", "--goal-error", "0.2")


def test_folders_hold_the_trials_that_were_asked_for(new_sweep, tmp_path):
    out = tmp_path / "first"
    assert "2 studies, 2 trials" in collect(new_sweep, "--layout", "release", "--first", 1, "-o", out).stderr
    out = tmp_path / "finished"
    assert "1 studies, 2 trials" in collect(new_sweep, "--layout", "release", "--finished", "-o", out).stderr


def test_a_fit_of_a_folder_names_it(folder):
    for size in (128, 256):
        study = folder / "mnist" / "simple_cnn" / "sgd" / str(size)
        shutil.copytree(study.parent / "64", study)
        content = json.loads((study / "study.json").read_text())
        (study / "study.json").write_text(json.dumps({**content, "batch_size": size}))
    arguments = ["fit", str(folder), "--goal-error", "0.02"]
    shown = CliRunner().invoke(group, arguments, catch_exceptions=False).stdout
    assert str(folder) in shown.replace("\n", "")
    written = CliRunner().invoke(group, [*arguments, "--json", "-"], catch_exceptions=False).stdout
    assert json.loads(written)["input"]["path"] == str(folder)
