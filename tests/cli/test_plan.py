"""``sparsefit plan`` from the outside: its page, its file, and what it says to bad input."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sparsefit.cli import group
from sparsefit.errors import InputError

ROOT = Path(__file__).parents[2]
SPARSE = str(ROOT / "examples" / "simulated_sparsity.csv")


def run(*arguments):
    return CliRunner().invoke(group, ["plan", *map(str, arguments)], catch_exceptions=False)


def refuse(*arguments):
    with pytest.raises(InputError) as caught:
        run(*arguments)
    return str(caught.value)


@pytest.fixture(scope="module")
def content():
    return CliRunner().invoke(group, ["fit", SPARSE, "--json", "-"], catch_exceptions=False).stdout


@pytest.fixture
def fit(content, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(content)
    return path


def test_page_names_groups_and_binding_limits(fit):
    shown = run(fit, "--budget-samples", 150_000, "--devices-max-batch", 64).stdout
    assert "budget of 150,000 samples; devices take batches up to 64" in " ".join(shown.split())
    rows = {line.split()[0]: line.split()[-1] for line in shown.splitlines() if line[:1] == "0"}
    assert rows == {"0": "devices", "0.5": "devices", "0.9": "budget"}
    assert "no batch size fits the budget" in shown


@pytest.mark.parametrize(("limit", "said"), [(0.004, "0.4 %"), (0.125, "12.5 %"), (0.2, "20 %")])
def test_limit_is_named_as_it_was_given(fit, limit, said):
    assert f"at most {said} more samples" in run(fit, "--max-overhead", limit).stdout.replace("\n", " ")


def test_plan_does_not_take_the_place_of_its_fit(fit):
    assert "is the input" in refuse(fit, "--max-overhead", 0.2, "--json", fit)


def test_json_follows_its_schema(fit):
    content = json.loads(run(fit, "--max-overhead", 0.2, "--json", "-").stdout)
    assert content["schema"] == "sparsefit.plan/1"
    assert content["limits"] == {"max_overhead": 0.2}
    assert [entry["group"]["sparsity"] for entry in content["plans"]] == [0.0, 0.5, 0.9]
    for entry in content["plans"]:
        for name in ("batch_size", "steps", "samples", "steps_overhead", "samples_overhead"):
            assert entry[name]["low"] < entry[name]["value"] < entry[name]["high"]


def test_steps_at_a_batch_size_are_those_of_the_curve(fit):
    dense = json.loads(run(fit, "--batch-size", 512, "--json", "-").stdout)["plans"][0]
    assert dense["batch_size"] == {"value": 512.0, "low": 512.0, "high": 512.0}
    assert dense["steps"]["low"] < 90_000 / 512 + 240 < dense["steps"]["high"]  # the simulated truth
    assert "at a batch size of 512" in run(fit, "--batch-size", 512).stdout.lower()


@pytest.fixture
def linear(tmp_path):
    """The fit of c1/B, measured from B = 8 to 1024."""
    table, path = tmp_path / "linear.csv", tmp_path / "linear.json"
    steps = (125867, 63536, 31457, 15223, 7955, 3941, 1932, 988)
    rows = (f"{8 * 2**i},{each}\n" for i, each in enumerate(steps))
    table.write_text("batch_size,steps\n" + "".join(rows))
    assert CliRunner().invoke(group, ["fit", str(table), "--json", str(path)]).exit_code == 0
    return path


def cells(*arguments):
    row = next(line for line in run(*arguments).stdout.splitlines() if line.startswith("all rows"))
    return [cell for cell in row.strip().split("   ") if cell]


def test_measured_batch_size_has_steps_where_c2_is_not_determined(linear):
    name, size, steps, samples, over_steps, over_samples, limit = map(
        str.strip, cells(linear, "--batch-size", 128)
    )
    assert (name, size, limit) == ("all rows", "128", "given")
    assert steps == "7,841 [7,725, 7,954]"
    assert samples.startswith("1.00e+06 [")
    assert (over_steps[0], over_samples[0]) == (">", "<")
    assert over_samples.endswith(" %")


def test_batch_size_past_those_measured_has_limits_where_c2_is_not_determined(linear):
    steps = cells(linear, "--batch-size", 100_000)[2].strip()
    assert steps.startswith("> 9.9")
    assert " and < " in steps


def test_devices_decide_where_the_overhead_allows_more_for_sure(linear):
    found = cells(linear, "--max-overhead", 0.2, "--devices-max-batch", 512)
    assert [cell.strip() for cell in (found[1], found[-1])] == ["512", "devices"]
    found = cells(linear, "--max-overhead", 0.2, "--devices-max-batch", 8000)
    assert [cell.strip() for cell in (found[1], found[-1])] == ["> 4,429 and < 8,000", "-"]


def test_a_batch_size_leaves_nothing_to_limit(fit):
    assert "one or the other" in refuse(fit, "--batch-size", 512, "--max-overhead", 0.2)


def test_a_budget_that_nothing_fits_says_none(fit):
    shown = run(fit, "--budget-samples", 1000).stdout
    assert "none" in shown
    assert "not determined" not in shown


def test_limit_must_be_given(fit):
    assert "--budget-samples" in refuse(fit)


def region(value):
    def change(content):
        content["fits"][0]["region"] = value

    return change


def broken(**changes):
    def change(content):
        content["fits"][0].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("schema"), "schema"),
        (lambda content: content.update(schema="sparsefit.fit/9"), "sparsefit.fit/1"),
        (lambda content: content.pop("fits"), "fits is missing"),
        (lambda content: content.update(fits=[]), "at least one fit"),
        (lambda content: content.update(fits={}), "allowed a list"),
        (lambda content: content.update(confidence=2), "confidence"),
        (lambda content: content.update(confidence="high"), "confidence"),
        (lambda content: content["fits"][0].pop("c1"), "fits[0].c1 is missing"),
        (broken(c1=3), "fits[0].c1"),
        (broken(c1={"value": -3, "low": None, "high": None}), "fits[0].c1.value"),
        (broken(c2={"value": 3, "low": 4, "high": 5}), "rising order"),
        (broken(c2={"value": "x", "low": 4, "high": 5}), "fits[0].c2.value"),
        (broken(log_correlation=2), "from -1 to 1"),
        (broken(batch_size_range=[1]), "batch_size_range"),
        (broken(verdict=None), "fits[0].verdict"),
        (broken(group=[]), "fits[0].group"),
        (broken(group={"model": "a"}), "allowed the names of fits[0]"),
        (region(3), "fits[0].region"),
        (region({"c1": [1]}), "fits[0].region.c2 is missing"),
        (region({"c1": [1], "c2": [1, None]}), "as many c1 as c2"),
        (region({"c1": [-1], "c2": [1]}), "0 or more"),
        (region({"c1": ["x"], "c2": [1]}), "fits[0].region.c1"),
    ],
)
def test_damaged_fit_is_refused_with_its_field(fit, change, said):
    content = json.loads(fit.read_text())
    change(content)
    fit.write_text(json.dumps(content))
    message = refuse(fit, "--max-overhead", 0.2)
    assert said in message
    assert str(fit) in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"[1]", "allowed an object"),
        (b"batch_size,steps", "not JSON"),
        (b"SQLite format 3\x00\xff", "sparsefit fit TABLE --json fit.json"),
        (b"batch_size,steps\n8,90\n", "sparsefit fit TABLE --json fit.json"),
        (b"[" + b"9" * 5000 + b"]", "an integer of over 4,300 digits"),
    ],
)
def test_file_that_is_no_fit_is_refused(tmp_path, content, said):
    path = tmp_path / "fit.json"
    path.write_bytes(content)
    assert said in refuse(path, "--max-overhead", 0.2)


def test_missing_file_and_directory_are_refused(tmp_path):
    assert "cannot be read" in refuse(tmp_path / "none.json", "--max-overhead", 0.2)
    assert "cannot be read" in refuse(tmp_path, "--max-overhead", 0.2)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("option", ["--budget-samples", "--max-overhead", "--devices-max-batch"])
def test_limit_that_is_not_positive_is_refused(fit, option, value):
    assert "finite number above 0" in refuse(fit, option, value)


def test_unwritable_output_is_refused(fit, tmp_path):
    assert "does not exist" in refuse(fit, "--max-overhead", 1, "--json", tmp_path / "none" / "p.json")
