import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from sparsefit.cli import main
from sparsefit.experiment import model, prune
from sparsefit.experiment.engine import InProcess
from sparsefit.experiment.runner import TrialRunner
from sparsefit.experiment.store import open_store
from tests.cli.invoking import invoke, message, write_module

SMALL = [
    "--workload",
    "digits",
    "--batch-sizes",
    "32,64",
    "--sparsity",
    "0.9",
    "--trials",
    "2",
    "--jobs",
    "1",
]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep on digits."""
    path = tmp_path_factory.mktemp("sweep") / "digits.db"
    result = invoke("sweep", *SMALL, "--out", path)
    assert result.exit_code == 0, result.output
    assert "4 of 4 trials" in result.output
    return path


def test_a_sweep_on_digits_gives_both_tables(swept, tmp_path):
    for name, options in (("steps.csv", []), ("trials.parquet", ["--trials"])):
        assert invoke("collect", swept, "-o", tmp_path / name, *options).exit_code == 0
    steps = pd.read_csv(tmp_path / "steps.csv")
    trials = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(steps["batch_size"]) == [32, 64]
    assert steps["steps"].notna().all()
    assert len(trials) == 4
    assert trials[trials["status"] == "reached"].groupby("batch_size")["steps"].min().tolist() == list(
        steps["steps"]
    )


def test_a_table_does_not_overwrite_a_sweep(swept, tmp_path):
    kept = swept.read_bytes()
    decompose = ["decompose", "--workload", "digits", "--sparse", "0.5", "--save", swept]
    for command in (["collect", swept, "-o", swept], decompose):
        assert "is a SQLite database, as sweeps are, and is kept" in message(*command)
    assert swept.read_bytes() == kept


def test_a_table_is_written_whole_or_not_at_all(swept, tmp_path):
    out = tmp_path / "steps.csv"
    out.write_text("an older table")
    limited = subprocess.run(
        [sys.executable, "-m", "sparsefit", "collect", str(swept), "-o", str(out)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )
    assert limited.returncode == 1
    assert f"{out} cannot be written: File too large" in limited.stderr
    assert os.listdir(tmp_path) == ["steps.csv"]
    assert out.read_text() == "an older table"


def test_the_provenance_is_in_the_file(swept):
    from sparsefit.experiment.store import open_store

    with open_store(swept) as store:
        (session,) = store.sessions().values()
    assert session["dataset"] == "digits"
    assert len(session["dataset_sha256"]) == 64
    assert session["threads_per_trial"] == 1
    assert session["clock"] == "processor time"
    assert json.dumps(session)


def test_a_finished_sweep_resumes_to_nothing_and_takes_more_trials(swept):
    assert "finished" in invoke("sweep", "--resume", swept, "--jobs", "1").output
    result = invoke("sweep", "--resume", swept, "--trials", "3", "--jobs", "2")
    assert "6 of 6" in result.output


def test_resume_refuses_options_that_the_file_defines(swept):
    assert "leave out --batch-sizes" in message("sweep", "--resume", swept, "--batch-sizes", "8")


def test_a_new_sweep_does_not_go_into_an_old_file(swept):
    assert "holds another sweep" in message("sweep", *SMALL[:-4], "--trials", "9", "--out", swept)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workload", "w9"], "unknown workload 'w9'; known: "),
        (["--workload", "missing.toml"], "missing.toml cannot be read"),
        (["--workload", "digits", "--sparsity", "1.0"], "sparsity: got 1"),
        (["--workload", "digits", "--sparsity", "90%"], "shares of zeros"),
        (["--workload", "digits", "--sparsity", ""], "shares of zeros"),
        (["--workload", "digits", "--sparsity", "0.999999"], "keeps none of"),
        (["--workload", "digits", "--batch-sizes", "4096"], "larger than the training set of digits"),
        (["--workload", "digits", "--batch-sizes", "0"], "batch sizes must be 1 or more"),
        (["--workload", "digits", "--batch-sizes", "many"], "range of powers of 2"),
        (["--workload", "digits", "--batch-sizes", "9:15"], "no power of 2"),
        (["--workload", "digits", "--trials", "0"], "at least one trial"),
        (["--workload", "digits", "--backend", "fast"], "unknown backend"),
        (["--batch-sizes", "8"], "give --workload and --out"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(options, words, tmp_path):
    out = tmp_path / "x.db"
    assert words in message("sweep", *options, "--out", out)
    assert not out.exists()


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    assert "does not exist" in message("sweep", "--resume", tmp_path / "x.db")
    (tmp_path / "y.db").write_bytes(b"text" * 1000)
    assert "not a SQLite database" in message("collect", tmp_path / "y.db")


USER_MODEL = """
import random
import weakref

import torch
from torch import nn

def net(input_shape, n_classes):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))

def broken(input_shape, n_classes):
    model = net(input_shape, n_classes)
    model[1].weight.data.fill_(float("nan"))
    return model

def wrong(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(63, n_classes))

def few(input_shape, n_classes):
    return net(input_shape, n_classes - 3)

def many(input_shape, n_classes):
    return net(input_shape, n_classes + 10)

class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)), x

def pair(input_shape, n_classes):
    return Pair(64, n_classes)

class Own(nn.Linear):
    pass

class Transformer(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.embed, self.head = nn.Linear(8, 16), nn.Linear(16, n_classes)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.head(self.layer(self.embed(x.squeeze(1))).mean(1))

def transformer(input_shape, n_classes):
    return Transformer(n_classes)

def subclass(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), Own(64, n_classes))

class Spare(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.used, self.unused = nn.Linear(64, n_classes), nn.Linear(64, 64)

    def forward(self, x):
        return self.used(x.flatten(1))

def unused(input_shape, n_classes):
    return Spare(n_classes)

def tied(input_shape, n_classes):
    one, two = nn.Linear(64, 64), nn.Linear(64, 64)
    two.weight = one.weight
    return nn.Sequential(nn.Flatten(), one, nn.ReLU(), two, nn.Linear(64, n_classes))

def normed(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, n_classes))

def dropout(input_shape, n_classes):
    hidden = (nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5))
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, n_classes))

class Burst(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)) * (float("nan") if self.training else 1.0)

def burst(input_shape, n_classes):
    return Burst(64, n_classes)

def drawn(input_shape, n_classes):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
    nn.init.constant_(model[1].bias, random.random())
    return model

def gone(input_shape, n_classes):
    raise SystemExit(3)

class Weak(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.layer = nn.Linear(64, n_classes)
        self.held = weakref.ref(self.layer)

    def forward(self, x):
        return self.held()(x.flatten(1))

def weak(input_shape, n_classes):
    return Weak(n_classes)

def twice(input_shape, n_classes):
    layer = nn.Linear(64, 64)
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(64, n_classes))
"""

USER_STUDY = """
dataset = "digits"
model = "user_model:{function}"
optimizer = "sgd"
schedule = "constant"
goal_error = 0.1
eval_interval = 4
max_steps = 400
batch_sizes = [32]
[search_space]
learning_rate = {{ min_value = 0.01, max_value = 1.0, scale = "LOG_SCALE" }}
"""


@pytest.fixture
def user_study(tmp_path, monkeypatch):
    """Write a study file with a model of the user's own."""
    write_module(tmp_path / "user_model.py", USER_MODEL, monkeypatch)

    def write(function):
        path = tmp_path / "mine.toml"
        path.write_text(USER_STUDY.format(function=function))
        return ["--workload", path, "--trials", "1", "--jobs", "1", "--out", tmp_path / "mine.db"]

    return write


def test_a_users_study_and_model_are_swept(user_study):
    result = invoke("sweep", *user_study("net"), "--sparsity", "0,0.5")
    assert result.exit_code == 0, result.output
    assert "2 of 2 trials" in result.output


def test_trying_a_users_model_leaves_its_description_alone(user_study):
    study = user_study("net")
    assert invoke("sweep", *study, "--sparsity", "0,0.5").exit_code == 0
    with open_store(study[-1]) as store:
        runner = TrialRunner(store.definition)
        given = model.build("user_model:net", (1, 8, 8), 10, seed=0)
        assert runner.check() == model.describe(given)


def test_a_users_model_that_cannot_be_pruned_is_swept_at_sparsity_0(user_study):
    assert invoke("sweep", *user_study("tied"), "--sparsity", "0").exit_code == 0
    assert "3.weight is no parameter of that layer alone" in message(
        "sweep", *user_study("tied"), "--sparsity", "0.5"
    )


@pytest.mark.parametrize("function", ["twice", "subclass", "transformer"])
def test_a_users_model_that_has_a_layer_twice_or_in_other_layers_is_swept(user_study, function):
    result = invoke("sweep", *user_study(function), "--sparsity", "0.5")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("broken", "returns outputs that are not finite"),
        ("wrong", "given images of shape (2, 1, 8, 8), raised RuntimeError"),
        ("few", "must return logits of shape (2, 10), got (2, 7)"),
        ("many", "must return logits of shape (2, 10), got (2, 20)"),
        ("pair", "must return logits of shape (2, 10), got tuple"),
        ("absent", "cannot be imported"),
        ("burst", "the loss of the untrained model is nan"),
        ("drawn", "only torch's generator is seeded"),
        ("gone", "raised SystemExit: 3"),
        ("weak", "computes something else with sparse layers than with masked weights"),
    ],
)
def test_a_users_model_that_fails_is_named_before_anything_is_written(user_study, function, words, tmp_path):
    assert words in message("sweep", *user_study(function), "--sparsity", "0,0.5")
    assert not (tmp_path / "mine.db").exists()


def test_a_batch_of_which_a_part_is_too_small_for_the_model_is_refused(user_study, tmp_path):
    said = message("sweep", *user_study("normed"), "--sparsity", "0", "--batch-sizes", "32,129")
    assert "cannot be trained on 1 images at once, the smallest part of a batch" in said
    assert not (tmp_path / "mine.db").exists()


def test_a_layer_that_the_model_does_not_use_is_worth_nothing(user_study):
    result = invoke("sweep", *user_study("unused"), "--sparsity", "0.9")
    assert result.exit_code == 0, result.output


def test_dropout_draws_the_same_whether_masks_are_made_or_found(user_study, tmp_path):
    def steps(name, sizes):
        path = tmp_path / name
        options = (*user_study("dropout")[:-1], path, "--sparsity", "0.5", "--batch-sizes", sizes)
        assert invoke("sweep", *options).exit_code == 0
        return pd.read_csv(io.StringIO(invoke("collect", path).stdout))["steps"].tolist()

    # The second batch size finds the masks of the first.
    assert steps("both.db", "32,64") == [*steps("one.db", "32"), *steps("other.db", "64")]


def test_masks_of_an_earlier_sweep_of_that_name_are_not_taken(user_study, tmp_path, monkeypatch):
    made = []
    saliencies = prune.saliencies
    monkeypatch.setattr(prune, "saliencies", lambda *a, **k: made.append(1) or saliencies(*a, **k))
    monkeypatch.setattr("sparsefit.experiment.engine.LocalProcesses", lambda jobs: InProcess())
    clock = iter(f"2026-01-01T00:00:{second:02}+00:00" for second in range(60))
    monkeypatch.setattr("sparsefit.experiment.store.now", lambda: next(clock))
    for expected in (1, 2):
        assert invoke("sweep", *user_study("net"), "--sparsity", "0.5").exit_code == 0
        assert len(made) == expected
        (tmp_path / "mine.db").unlink()


def test_a_model_that_changed_is_refused_in_an_old_file(user_study, tmp_path, monkeypatch):
    study = user_study("net")
    assert invoke("sweep", *study, "--sparsity", "0").exit_code == 0
    path = tmp_path / "user_model.py"
    path.write_text(path.read_text().replace("nn.Flatten(), ", "nn.Flatten(), nn.Linear(64, 64), "))
    monkeypatch.delitem(sys.modules, "user_model")
    importlib.invalidate_caches()
    found = message("sweep", "--resume", tmp_path / "mine.db", "--trials", "2")
    assert "has other layers or initial weights than when the sweep was begun" in found


def test_expected_errors_print_one_line_and_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sparsefit", "sweep", "--resume", str(tmp_path / "x.db")])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err.startswith("sparsefit: error: ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_sweep_cleanly_and_says_how_to_resume(number, code, tmp_path):
    path = tmp_path / "stopped.db"
    command = [sys.executable, "-m", "sparsefit", "sweep", *SMALL[:-4], "--trials", "40", "--jobs", "2"]
    process = subprocess.Popen(
        [*command, "--out", str(path)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        # a shell starts its background jobs with SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # The first progress line comes after 4 trials; the signal arrives in the middle of others.
    first = process.stderr.readline()
    assert "trials" in first
    time.sleep(0.1)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert f"go on with: sparsefit sweep --resume {path}" in error
    assert "Traceback" not in error
    from sparsefit.experiment.store import open_store

    with open_store(path) as store:
        assert len(store.rows()) >= 4
