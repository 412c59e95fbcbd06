"""``sparsefit collect`` reads the folders of others into a table that the fit accepts."""

import io
import json

import pandas as pd
import pytest
from click.testing import CliRunner

from sparsefit.cli.collect import command
from sparsefit.errors import InputError
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
