import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from sparsefit.cli.decompose import command
from sparsefit.errors import InputError
from tests.cli.invoking import write_module

ROOT = Path(__file__).parents[2]
PAPER = str(ROOT / "examples" / "lee2020_simple_cnn.json")
SMALL = (
    "--seeds",
    "2",
    "--steps",
    "4",
    "--every",
    "2",
    "--beta-examples",
    "20",
    "--curvature-examples",
    "50",
)


def invoke(*arguments):
    return CliRunner().invoke(command, arguments)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("decompose") / "d.json"
    result = invoke("--sparse", "0.5,0.9", *SMALL, "--layers", "--save", str(path))
    assert result.exit_code == 0, result.output
    return result.output, path


def test_paper_file_prints_both_products():
    output = " ".join(invoke("--from", PAPER).output.split())
    assert "= 1.690" in output
    assert "1.00 × 0.54 × 3.09 = 1.67" in output


def test_measurement_on_digits_prints_one_column_a_sparsity(measured):
    output, _ = measured
    assert "dense" in output
    assert "sparsity 0.5" in output
    assert "sparsity 0.9" in output
    assert "share of each layer" in output


def test_what_was_measured_before_an_interruption_is_saved(tmp_path, monkeypatch):
    from sparsefit.experiment import measure

    whole = measure.measure

    def stop_at_seed_1(workload, dataset, sparsities, seeds, *rest, **options):
        if 1 in seeds:
            raise KeyboardInterrupt
        return whole(workload, dataset, sparsities, seeds, *rest, **options)

    monkeypatch.setattr(measure, "measure", stop_at_seed_1)
    result = invoke("--sparse", "0.9", *SMALL, "--save", str(tmp_path / "d.json"))
    assert result.exit_code == 130
    assert f"stopped; 1 of 2 seeds are in {tmp_path / 'd.json'}" in result.output
    assert json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))["seeds"] == [0]
    assert "sparsity 0.9" in invoke("--from", str(tmp_path / "d.json")).output


def test_measurement_has_the_documented_fields(measured):
    table = json.loads(measured[1].read_text(encoding="utf-8"))
    assert table["seeds"] == [0, 1]
    assert [entry["sparsity"] for entry in table["sparse"]] == [0.5, 0.9]
    for name in ("delta", "smoothness", "beta", "c1"):
        ratio = table["sparse"][1]["ratios"][name]
        assert ratio["low"] < ratio["value"] < ratio["high"]
        assert ratio["n"] == 2
    assert [point["step"] for point in table["trajectories"][0]["points"]] == [1, 2, 4]
    assert table["settings"]["metaparameters"]["learning_rate"] == 0.01


def test_saved_measurement_prints_the_same_again(measured):
    output, path = measured
    assert invoke("--from", str(path), "--layers").output == output


def test_measurement_is_reproducible(measured, tmp_path):
    path = tmp_path / "again.json"
    assert invoke("--sparse", "0.5,0.9", *SMALL, "--save", str(path)).exit_code == 0
    assert path.read_text(encoding="utf-8") == measured[1].read_text(encoding="utf-8")


REFUSED = [
    ((), "give --sparse"),
    (("--sparse", "0"), "allowed above 0 and below 1"),
    (("--sparse", "1"), "allowed above 0 and below 1"),
    (("--sparse", "nan"), "allowed above 0 and below 1"),
    (("--sparse", "90%"), "allowed shares of zeros"),
    (("--sparse", ""), "give --sparse"),
    (("--sparse", "0.9,0.9"), "stands twice"),
    (("--sparse", "0.9", "--workload", "w99"), "unknown workload"),
    (("--sparse", "0.9", "--learning-rate", "-1"), "--learning-rate"),
    (("--sparse", "0.9", "--learning-rate", "nan"), "--learning-rate"),
    (("--sparse", "0.9", "--learning-rate", "inf"), "--learning-rate"),
    (("--sparse", "0.9", "--learning-rate", "1e6", *SMALL), "diverged"),
    (("--sparse", "0.9", "--momentum", "1"), "--momentum"),
    (("--sparse", "0.9", "--confidence", "95"), "--confidence"),
    (("--sparse", "0.9", "--f-inf", "low"), "--f-inf"),
    (("--sparse", "0.9", "--f-inf", "99", *SMALL), "must lie below"),
    (("--sparse", "0.9", "--beta-examples", "1"), "--beta-examples"),
    (("--sparse", "0.9", "--curvature-examples", "-3"), "--curvature-examples"),
    (("--sparse", "0.9", "--batch-size", "100000"), "batch size"),
    (("--sparse", "0.9", "--steps", "5", "--every", "9"), "every"),
    (("--sparse", "0.9", "--save", "no/such/folder/d.json"), "does not exist"),
    (("--sparse", "0.9", "--save", "."), "is a directory"),
    (("--sparse", "0.9", "--fit", "missing.json"), "cannot be read"),
    (("--from", "missing.json"), "cannot be read"),
    (("--from", "."), "cannot be read"),
    (("--from", PAPER, "--fit", PAPER), "sparsefit.fit/1"),
    (("--from", PAPER, "--sparse", "0.9"), "leave out --sparse"),
    (("--from", PAPER, "--seeds", "5"), "leave out --seeds"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), REFUSED, ids=lambda value: " ".join(value)[:40] or "nothing"
)
def test_bad_input_is_refused_in_words(arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert isinstance(result.exception, InputError), result.output
    assert message in str(result.exception)


@pytest.mark.parametrize(
    "arguments", [("--seeds", "0"), ("--steps", "x"), ("--gammas", "ours"), ("--every", "1")]
)
def test_options_out_of_range_are_usage_errors(arguments):
    result = invoke("--sparse", "0.9", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.output


def test_refused_measurement_leaves_no_file(tmp_path):
    path = tmp_path / "d.json"
    assert isinstance(invoke("--sparse", "1.5", "--save", str(path)).exception, InputError)
    assert not path.exists()


def test_a_measurement_is_not_replaced_by_another(measured):
    before = measured[1].read_bytes()
    with pytest.raises(InputError, match="a new measurement would replace what it holds"):
        CliRunner().invoke(command, ["--sparse", "0.9", "--save", str(measured[1])], catch_exceptions=False)
    assert measured[1].read_bytes() == before


@pytest.mark.parametrize("option", ["--fit", "--workload", "--from"])
def test_an_input_is_not_overwritten(option, tmp_path):
    path = tmp_path / "input"
    path.write_text("{}")
    sparse = () if option == "--from" else ("--sparse", "0.9")
    arguments = [*sparse, option, str(path), "--save", str(path)]
    with pytest.raises(InputError, match=r"is the input .* already; name another file"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert path.read_text() == "{}"


def test_a_disk_that_fills_up_leaves_the_earlier_seeds(measured, tmp_path, monkeypatch):
    from sparsefit.fitting import decomposition_file

    path = tmp_path / "d.json"
    path.write_bytes(measured[1].read_bytes())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        decomposition_file.save(path, decomposition_file.load(path))
    assert path.read_bytes() == measured[1].read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == ["d.json"]


@pytest.fixture
def study(tmp_path):
    """A study file, and a fit of the table that a sweep of it gives."""
    path = tmp_path / "mine.toml"
    path.write_text((ROOT / "sparsefit" / "experiment" / "workloads" / "digits.toml").read_text())
    estimate = {"value": 5.0, "low": 4.0, "high": 6.0}
    names = ("c1", "c2", "critical_batch_size")
    group = {"workload": "mine", "sparsity": 0.0}
    fit = {"schema": "sparsefit.fit/1", "fits": [{"group": group, **dict.fromkeys(names, estimate)}]}
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    return path


def test_fit_of_a_study_file_is_found_by_its_name(study, measured, monkeypatch):
    from sparsefit.experiment import measure
    from sparsefit.fitting import decomposition_file

    known = decomposition_file.load(measured[1]).trajectories
    monkeypatch.setattr(
        measure, "measure", lambda *given, **_: [found for found in known if found.seed in given[3]]
    )
    fit = str(study.parent / "fit.json")
    result = invoke("--sparse", "0.5,0.9", "--workload", str(study), "--fit", fit, *SMALL)
    assert result.exit_code == 0, result.exception
    assert "fitted c1/c2" in result.output


def test_fit_of_another_workload_is_refused_before_anything_is_measured(study, monkeypatch):
    from sparsefit.experiment import measure

    monkeypatch.setattr(measure, "measure", lambda *_, **__: pytest.fail("measured"))
    result = invoke("--sparse", "0.9", "--workload", "w1", "--fit", str(study.parent / "fit.json"), *SMALL)
    assert isinstance(result.exception, InputError)
    assert "no fit of the workload 'w1'" in str(result.exception)


OWN_MODEL = """
from torch import nn

class Recurrent(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.rows, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, n_classes)

    def forward(self, x):
        return self.head(self.rows(x.squeeze(1))[0].mean(1))

def recurrent(input_shape, n_classes):
    return Recurrent(n_classes)

def frozen(input_shape, n_classes):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, n_classes))
    model[1].requires_grad_(False)
    return model
"""


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """Return the path of a study whose model is one of those above."""
    write_module(tmp_path / "own_model.py", OWN_MODEL, monkeypatch)

    def write(function):
        path = tmp_path / "mine.toml"
        text = (ROOT / "sparsefit" / "experiment" / "workloads" / "digits.toml").read_text()
        path.write_text(text.replace('model = "simple-cnn-8x8"', f'model = "own_model:{function}"'))
        return path

    return write


def test_a_model_without_gradients_of_single_examples_is_refused_with_the_reason(own_model):
    result = invoke("--sparse", "0.9", "--workload", str(own_model("recurrent")), *SMALL)
    assert isinstance(result.exception, InputError)
    assert "cannot be measured: RuntimeError" in str(result.exception)
    assert "needs gradients of single examples" in str(result.exception)


def test_a_layer_that_is_not_trained_has_no_part_in_what_is_measured(own_model, tmp_path):
    saved = tmp_path / "parts.json"
    invoke(
        "--sparse", "0.5", "--workload", str(own_model("frozen")), *SMALL, "--layers", "--save", str(saved)
    )
    text = saved.read_text()
    assert '"1":' not in text
    assert '"3": 1.0' in text


def test_momentum_0_is_a_momentum(tmp_path):
    study = tmp_path / "mine.toml"
    text = (ROOT / "sparsefit" / "experiment" / "workloads" / "digits.toml").read_text()
    study.write_text(text.replace('optimizer = "sgd"', 'optimizer = "momentum"'))
    arguments = ("--sparse", "0.9", "--workload", str(study), "--momentum", "0", *SMALL)
    assert invoke(*arguments).exit_code == 0
