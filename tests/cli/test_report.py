"""``sparsefit report`` from the outside: the page, its files, and what it says to bad input."""

import csv
import sqlite3
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sparsefit.cli import group
from sparsefit.errors import InputError, SparsefitError

ROOT = Path(__file__).parents[2]
STEPS = ROOT / "examples" / "simulated_sparsity.csv"
DECOMPOSITION = ROOT / "examples" / "lee2020_simple_cnn.json"
EVIL = "<script>alert('w')</script> $\\frac{1}$ & \"_\""


def run(*arguments):
    return CliRunner().invoke(group, ["report", *map(str, arguments)], catch_exceptions=False)


def refuse(*arguments):
    with pytest.raises(SparsefitError) as caught:
        run(*arguments)
    return str(caught.value)


def write_trials(path, workload, optimizer, seed=0):
    """Write a table of trials of a search that has every way to end."""
    rng = np.random.default_rng(seed)
    rows = []
    for sparsity in (0.0, 0.9):
        for size in (4, 16, 64, 256):
            for trial in range(6):
                steps = int((2000 / size + 30) * (1 + sparsity) * (1 + 0.2 * trial) * rng.uniform(0.97, 1.03))
                status = ("reached", "reached", "capped", "reached", "not_reached", "diverged")[trial]
                rows.append(
                    {
                        "workload": workload,
                        "optimizer": optimizer,
                        "goal_error": 0.02,
                        "sparsity": sparsity,
                        "batch_size": size,
                        "trial": trial,
                        "status": status,
                        "steps": steps if status == "reached" else "",
                        "max_steps": 300 if status == "capped" else 4000,
                        "learning_rate": 10.0 ** (-trial / 2),
                        "momentum": 1 - 10.0 ** -(1 + trial / 3),
                        "samples": steps * size,
                        "seconds": steps / 100,
                    }
                )
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


class Page(HTMLParser):
    """Collects what a page refers to, and checks that every element is closed."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.images, self.links, self.ids, self.text = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            assert found["alt"]
            self.images.append(found["src"])
        if "id" in found:
            self.ids.append(found["id"])
        self.links += [found[name] for name in ("href", "src") if name in found and tag != "img"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of two optimizers with awkward names, a table of steps and a published decomposition."""
    folder = tmp_path_factory.mktemp("report")
    tables = [
        write_trials(folder / "sgd.csv", EVIL, "sgd"),
        write_trials(folder / "momentum.csv", "m", "momentum", seed=1),
    ]
    out = folder / "out"
    result = run(*tables, STEPS, "--decomposition", DECOMPOSITION, "-o", out)
    assert result.exit_code == 0
    return out, Page((out / "index.html").read_text(encoding="utf-8"))


def test_page_is_one_file_that_needs_no_network(report):
    out, page = report
    assert page.images
    assert all(image.startswith("data:image/svg+xml;base64,") for image in page.images)
    for link in page.links:
        assert link == "data:," or link[1:] in page.ids or (out / link).is_file(), link
    assert len(set(page.ids)) == len(page.ids)


def test_names_are_text_on_the_page_never_code(report):
    _, page = report
    assert "script" not in page.tags
    assert any(EVIL in text for text in page.text)


def test_every_figure_has_png_svg_and_its_data(report):
    out, page = report
    stems = sorted(path.stem for path in (out / "figures").glob("*.csv"))
    assert len(stems) == len(page.images)
    for stem in stems:
        assert (out / "figures" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (out / "figures" / f"{stem}.svg").read_text(encoding="utf-8")
        assert len((out / "figures" / f"{stem}.csv").read_text(encoding="utf-8").splitlines()) > 1


def test_all_figures_of_the_paper_are_drawn_or_explained(report):
    _, page = report
    text = " ".join(page.text)
    for number in (1, 2, 3, 4, 5, 6, 12):
        assert f"Figure {number}:" in text
    for name in ("Residuals", "Profile likelihoods", "K*(n)", "Cost"):
        assert name in text
    assert "Not drawn: No training curves were kept" in text
    assert "Not drawn: This input has one row a study" in text


def test_page_names_claims_fits_and_ancestry(report):
    out, page = report
    text = " ".join(page.text)
    assert "3 inputs, 3 workloads" in text
    assert "Sparse training takes more steps" in text
    assert str(STEPS) in text
    tables = {path.stem for path in (out / "tables").glob("*.csv")}
    assert tables == {"steps", "fits", "ratios", "claims", "critical_batch_sizes", "inputs"}
    fits = list(csv.DictReader((out / "tables" / "fits.csv").read_text(encoding="utf-8").splitlines()))
    assert len(fits) == 7  # two sparsities in each table of trials, three in the table of steps


def test_same_input_gives_the_same_bytes(tmp_path):
    table = write_trials(tmp_path / "t.csv", "w", "sgd")
    for out in ("a", "b"):
        run(table, "-o", tmp_path / out)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path


def test_two_inputs_of_one_workload_stay_apart(tmp_path):
    tables = [write_trials(tmp_path / f"{seed}.csv", "w", "sgd", seed) for seed in (0, 1)]
    run(*tables, "-o", tmp_path / "out")
    assert "2 inputs, 2 workloads" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def write_sweep(path):
    """Write the file of a sweep with costs and curves, as if its trials had run."""
    from sparsefit.experiment import workload
    from sparsefit.experiment.records import End, Study, TrialEnd, TrialSpec
    from sparsefit.experiment.store import Store
    from sparsefit.experiment.study import Definition

    definition = Definition(workload.load("digits"), (4, 16, 64), (0.0, 0.9), trials=3, curves=True)
    with Store.create(path, definition) as store:
        store.begin_session({"sparsefit": "0", "cpu": "<b>CPU</b>", "dataset_sha256": "12ab"})
        for sparsity in definition.sparsities:
            for size in definition.batch_sizes:
                for trial in range(3):
                    steps = 2 * round((1000 / size + 20) * (1 + sparsity) * (2 - trial / 4))
                    curve = np.stack(
                        [np.arange(2.0, steps + 2, 2)] + [1 / np.arange(1.0, steps / 2 + 1)] * 3, 1
                    )
                    end = End("reached", steps)
                    run_ = TrialEnd(end, steps * size, 1.0, 0.5, len(curve), 150 * len(curve), 150, curve)
                    store.add(TrialSpec(Study(sparsity, size), trial, steps), run_)
    return path


BLOCK_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, NoTorch())
from sparsefit.cli import main
main()
"""


def test_report_of_a_sweep_runs_without_torch_and_names_its_ancestry(tmp_path):
    sweep, out = write_sweep(tmp_path / "digits.db"), tmp_path / "out"
    result = subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH, "report", str(sweep), "-o", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    text = " ".join(Page((out / "index.html").read_text(encoding="utf-8")).text)
    assert "<b>CPU</b>" in text
    for name in ("study hash", "dataset sha256", "12ab", "18 of 18"):
        assert name in text
    drawn = {path.stem.split("-", 2)[2] for path in (out / "figures").glob("01-*.csv")}
    assert {"figure-6-training-logs", "cost", "figure-3-trials-momentum"} <= drawn
    (logs,) = (out / "figures").glob("*-figure-6-training-logs.csv")
    rows = list(csv.DictReader(logs.read_text(encoding="utf-8").splitlines()))
    best = [row for row in rows if (row["sparsity"], row["batch_size"]) == ("0.9", "64")]
    assert [row["step"] for row in best] == [str(step) for step in range(2, 205, 2)]
    assert {row["trial"] for row in best} == {"2"}


def test_two_batch_sizes_have_no_residuals_and_no_profiles(tmp_path):
    table, out = tmp_path / "two.csv", tmp_path / "out"
    table.write_text("batch_size,steps\n128,2336\n256,1344\n")
    assert CliRunner().invoke(group, ["report", str(table), "-o", str(out)]).exit_code == 0
    text = " ".join(Page((out / "index.html").read_text(encoding="utf-8")).text)
    for missing in ("there are no residuals", "the likelihood has no width"):
        assert missing in text
    assert not list((out / "figures").glob("*-residuals.*"))


def test_bad_input_is_named_before_anything_is_written(tmp_path):
    out = tmp_path / "out"
    empty, text, foreign = tmp_path / "empty.db", tmp_path / "text.db", tmp_path / "foreign.db"
    empty.touch()
    text.write_text("no database " * 100)
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    table = write_trials(tmp_path / "t.csv", "w", "sgd")
    assert "no such file" in refuse(tmp_path / "missing.csv", "-o", out)
    assert "does not exist" in refuse(tmp_path / "missing.db", "-o", out)
    assert "is a directory" in refuse(tmp_path, "-o", out)
    assert "is empty" in refuse(empty, "-o", out)
    assert "not a SQLite database" in refuse(text, "-o", out)
    assert "another program" in refuse(foreign, "-o", out)
    assert "same bytes" in refuse(table, table, "-o", out)
    assert "--confidence" in refuse(table, "--confidence", "2", "-o", out)
    assert "is a file" in refuse(table, "-o", table)
    assert "no sparsefit report" in refuse(table, "-o", tmp_path)
    assert not out.exists()


def test_wrong_cell_is_named_by_its_row_in_its_file(tmp_path):
    good = write_trials(tmp_path / "good.csv", "w", "sgd")
    bad = tmp_path / "bad.csv"
    bad.write_text("batch_size,steps\n8,100\n16,-5\n")
    message = refuse(good, bad, "-o", tmp_path / "out")
    assert "bad.csv" in message
    assert "row 2" in message


def test_table_in_which_nothing_can_be_fitted_is_refused(tmp_path):
    table = tmp_path / "one.csv"
    table.write_text("batch_size,steps\n8,100\n")
    with pytest.raises(InputError, match="batch size"):
        run(table, "-o", tmp_path / "out")


@pytest.mark.parametrize("column", ["optimiser", "Optimizer"])
def test_optimizers_are_compared_however_their_column_is_spelt(tmp_path, column):
    tables = [tmp_path / "sgd.csv", tmp_path / "momentum.csv"]
    for path in tables:
        write_trials(path, "digits", path.stem)
        path.write_text(path.read_text().replace("optimizer", column, 1))
    assert run(*tables, "-o", tmp_path / "report").exit_code == 0
    claims = csv.DictReader((tmp_path / "report" / "tables" / "claims.csv").read_text().splitlines())
    pairs = [row for row in claims if row["name"] == "critical_batch_size_momentum"]
    assert all("optimizer momentum" in row["group"] and "optimizer sgd" in row["reference"] for row in pairs)
    assert len(pairs) == 2
    assert list((tmp_path / "report" / "figures").glob("figure-2-optimizers*.png"))


def test_table_of_ratios_without_ratios_has_its_header(tmp_path):
    table = tmp_path / "steps.csv"
    table.write_text("batch_size,steps\n" + "".join(f"{b},{4000 // b + 30}\n" for b in (1, 2, 4, 8, 16, 32)))
    assert run(table, "-o", tmp_path / "report").exit_code == 0
    header = (tmp_path / "report" / "tables" / "ratios.csv").read_text().split("\n")[0]
    assert header.startswith("workload,sparsity,c1,c1_low,c1_high")


def test_options_on_columns_are_those_of_fit(tmp_path):
    table, out = tmp_path / "t.csv", tmp_path / "report"
    rows = [(width, b, 9000 // b + 90 + width) for width in (1, 2) for b in (2, 4, 8, 16, 32, 64)]
    table.write_text("width,tokens,k\n" + "".join(f"{width},{b},{k}\n" for width, b, k in rows))
    assert "--batch-column" in refuse(table, "-o", out)
    named = ("--batch-column", "tokens", "--steps-column", "k")
    assert "--by" in refuse(table, *named, "-o", out)
    assert run(table, *named, "--by", "width", "--eval-interval", "10", "-o", out).exit_code == 0
    steps = list(csv.DictReader((out / "tables" / "steps.csv").read_text().splitlines()))
    assert [row["workload"] for row in steps] == ["width 1"] * 6 + ["width 2"] * 6
    assert {row["eval_interval"] for row in steps} == {"10.0"}
    assert "t.csv: --by: got 'colour'" in refuse(table, *named, "--by", "colour", "-o", out)
