"""A sweep goes out in the layouts of Shallue et al. and of the release, and comes back the same."""

import io

import pandas as pd
import pytest
from click.testing import CliRunner

from sparsefit.cli.collect import command as collect
from sparsefit.cli.fit import command as fit
from sparsefit.errors import InputError


def run(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    from sparsefit.cli.sweep import command

    path = tmp_path_factory.mktemp("sweep") / "digits.db"
    options = ["--batch-sizes", "64,128,256", "--sparsity", "0", "--trials", "2", "--jobs", "1"]
    assert run(command, "--workload", "digits", *options, "--full-curves", "--out", path).exit_code == 0
    return path


def table(*arguments):
    return pd.read_csv(io.StringIO(run(collect, *arguments).stdout))


@pytest.mark.parametrize("layout", ["release", "shallue"])
def test_an_exported_sweep_reads_back_as_the_same_trials(sweep, layout, tmp_path):
    out = tmp_path / layout
    assert run(collect, sweep, "--layout", layout, "-o", out).exit_code == 0
    ours, back = table(sweep, "--trials"), table(out)
    compared = ["workload", "sparsity", "batch_size", "trial", "status", "steps", "eval_interval"]
    compared += ["goal_error", "comparison", "max_steps", "learning_rate", "momentum"]
    order = ["sparsity", "batch_size", "trial"]
    pd.testing.assert_frame_equal(
        back[compared].sort_values(order, ignore_index=True),
        ours[compared].sort_values(order, ignore_index=True),
    )


def test_a_folder_is_fitted_like_the_file(sweep, tmp_path):
    out = tmp_path / "folders"
    run(collect, sweep, "--layout", "release", "-o", out)
    run(collect, sweep, "--trials", "-o", tmp_path / "trials.csv")
    columns = ["c1", "c2", "n_points"]
    found = [
        pd.read_csv(io.StringIO(run(fit, source, "--csv", "-").stdout))[columns]
        for source in (out, tmp_path / "trials.csv")
    ]
    pd.testing.assert_frame_equal(*found)


def test_curves_end_at_the_steps_of_the_table(sweep):
    curves, trials = table(sweep, "--curves"), table(sweep, "--trials")
    assert list(curves.columns[-4:]) == ["step", "training_loss", "validation_error", "validation_loss"]
    last = curves.groupby(["batch_size", "trial"])["step"].last()
    for row in trials[trials.status == "reached"].itertuples():
        assert last[row.batch_size, row.trial] == row.steps


def test_what_cannot_be_exported_is_refused(sweep, tmp_path):
    with pytest.raises(InputError, match="name it with -o"):
        run(collect, sweep, "--layout", "release")
    with pytest.raises(InputError, match="one of --trials, --repeats, --curves and --layout"):
        run(collect, sweep, "--layout", "release", "--trials", "-o", tmp_path / "x")
    with pytest.raises(InputError, match="not empty"):
        run(collect, sweep, "--layout", "release", "-o", sweep.parent)
