"""``sparsefit fit`` from the outside: known numbers, its files, and what it says to bad input."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from sparsefit import fit as fit_table
from sparsefit.cli import group
from sparsefit.errors import InputError
from sparsefit.report.fit_table import render
from sparsefit.report.terminal import show

ROOT = Path(__file__).parents[2]
CBS = str(ROOT / "examples" / "cbs_pretraining.csv")
SPARSE = str(ROOT / "examples" / "simulated_sparsity.csv")
PUBLISHED = ROOT / "tests" / "data" / "cbs_pretraining_published_fits.csv"


def run(*arguments, text=None):
    return CliRunner().invoke(group, ["fit", *map(str, arguments)], input=text, catch_exceptions=False)


def refuse(*arguments):
    with pytest.raises(InputError) as caught:
        run(*arguments)
    return str(caught.value)


def refuse_text(tmp_path, text, *options):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return refuse(path, *options)


def read_json(text):
    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=no_constant)


def test_command_line_gives_the_published_numbers_of_the_public_table():
    found = {fit["group"]["model_size"]: fit for fit in read_json(run(CBS, "--json", "-").stdout)["fits"]}
    published = list(csv.DictReader(PUBLISHED.read_text().splitlines()))
    assert len(published) == len(found) == 5
    for row in published:
        fit = found[row["model_size"]]
        # five significant digits are what was published
        assert fit["c1"]["value"] == pytest.approx(float(row["c1_examples_steps"]), rel=5e-6)
        assert fit["c2"]["value"] == pytest.approx(float(row["c2_steps"]), rel=5e-6)


def test_json_follows_its_schema():
    content = read_json(run(SPARSE, "--json", "-").stdout)
    assert content["schema"] == "sparsefit.fit/1"
    assert {"version", "input", "confidence", "fits", "ratios", "warnings"} <= content.keys()
    assert {"path", "sha256", "rows", "level", "by", "ignored"} <= content["input"].keys()
    assert content["input"]["rows"] == 36
    for fit in content["fits"]:
        for name in ("c1", "c2", "critical_batch_size"):
            assert fit[name].keys() == {"value", "low", "high"}
        assert fit["verdict"] in ("consistent", "rejected", "undetermined")
        assert {"name", "aicc", "delta_aicc", "parameters"} <= fit["models"][0].keys()
        assert set(fit["regimes"]) == {
            "linear_scaling",
            "diminishing_returns",
            "maximal_data_parallelism",
        }
    assert [ratio["group"]["sparsity"] for ratio in content["ratios"]] == [0.5, 0.9]


def test_json_has_null_where_a_limit_is_open(tmp_path):
    table = "batch_size,steps\n" + "".join(
        f"{size},{round(100_000 / size * bump)}\n"
        for size, bump in zip((1, 2, 4, 8, 16, 32), (1.02, 0.98, 1.01, 1.0, 0.99, 1.01), strict=True)
    )
    (tmp_path / "table.csv").write_text(table)
    fit = read_json(run(tmp_path / "table.csv", "--json", "-").stdout)["fits"][0]
    assert fit["verdict"] == "undetermined"
    assert fit["critical_batch_size"]["value"] is None
    assert fit["critical_batch_size"]["high"] is None
    assert fit["critical_batch_size"]["low"] > 32


def test_csv_has_a_row_a_group_with_the_numbers_of_the_json():
    rows = list(csv.DictReader(io.StringIO(run(CBS, "--csv", "-").stdout)))
    fits = read_json(run(CBS, "--json", "-").stdout)["fits"]
    assert [row["model_size"] for row in rows] == [fit["group"]["model_size"] for fit in fits]
    assert [float(row["c2_high"]) for row in rows] == [fit["c2"]["high"] for fit in fits]


def test_standard_input_is_read_plain_and_packed():
    plain = run("-", "--csv", "-", text=Path(CBS).read_text())
    packed = run("-", "--csv", "-", text=gzip.compress(Path(CBS).read_bytes()))
    assert plain.stdout == packed.stdout == run(CBS, "--csv", "-").stdout


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("PNG", b"\x89PNG")]
)
def test_figure_has_the_format_of_its_suffix(tmp_path, suffix, magic):
    path = tmp_path / f"fit.{suffix}"
    assert run(SPARSE, "--plot", path).exit_code == 0
    assert path.read_bytes().startswith(magic)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_fit_imports_neither_torch_nor_matplotlib_nor_the_cross_checks():
    code = (
        "import sys; from sparsefit.cli import main; sys.argv = ['sparsefit', 'fit', sys.argv[1]]; main();"
        "heavy = {'torch', 'matplotlib', 'lmfit', 'statsmodels'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, CBS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_error_is_one_message_without_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sparsefit", "fit", str(tmp_path / "missing.csv")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("sparsefit: error: ")
    assert "no such file" in done.stderr
    assert done.stderr.count("\n") == 1


GOOD = "batch_size,steps\n1,100\n2,60\n4,40\n8,30\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (b"\x00\x01\x02\xff" * 40, "binary"),
        ("batch_size,steps\n", "no row"),
        ("size,loss\n1,2\n", "no batch size column"),
        ("batch_size,epochs\n1,2\n", "no steps column"),
        ("batch_size,steps\n1,100\n2,soon\n", "row 2 below the header, column 'steps': got 'soon'"),
        ("batch_size,steps\n1,100\nmany,50\n", "row 2 below the header, column 'batch_size': got 'many'"),
        ("batch_size,steps\n1,100\n0,50\n", "got '0'"),
        ("batch_size,steps\n1,100\n-4,50\n", "got '-4'"),
        ("batch_size,steps\n1,100\n2,0\n", "got '0'"),
        ("batch_size,steps\n1,100\n2,nan\n", "row 2"),
        ("batch_size,steps\n1,100\n2,inf\n", "got 'inf'"),
        ("batch_size,steps\n2,100\n", "at least 2"),
        ("batch_size,steps\n2,100\n2,90\n", "disagree"),
        ("batch_size,steps,max_steps\n2,-1,500\n4,-1,500\n8,-1,500\n", "every row is censored"),
        ("batch_size,steps\n2,-2\n4,-2\n", "diverged"),
        ("batch_size,steps\n2,-1\n4,50\n", "max_steps"),
        (
            "batch_size,steps,sparsity\n2,9,0\n4,5,0\n2,9,90\n4,5,90\n",
            "'sparsity': got '90', allowed is the share",
        ),
        ("batch_size,steps,sparsity\n2,9,0\n4,5,0\n2,9,90%\n4,5,90%\n", "'sparsity': got '90%'"),
    ],
)
def test_bad_table_is_refused_with_its_reason(tmp_path, text, said):
    assert said in refuse_text(tmp_path, text)


def test_directory_without_studies_is_refused(tmp_path):
    assert "is a directory that holds no study.json" in refuse(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--confidence", "1.5"), "confidence: got 1.5"),
        (("--eval-interval", "-3"), "eval_interval: got -3"),
        (("--eval-interval", "nan"), "eval_interval: got nan"),
        (("--by", "colour"), "--by: got 'colour'"),
        (("--batch-column", "colour"), "--batch-column"),
        (("--plot", "fit.bmp"), ".png, .pdf, .svg"),
        (("--goal-error", "0.02"), "--goal-error is for folders"),
        (("--json", "-", "--csv", "-"), "is the output of --json already"),
    ],
)
def test_bad_option_is_refused_with_what_is_allowed(tmp_path, options, said):
    assert said in refuse_text(tmp_path, GOOD, *options)


def test_max_steps_bound_the_rows_that_missed_the_goal(tmp_path):
    (tmp_path / "table.csv").write_text(GOOD + "16,did not reach\n")
    fit = read_json(run(tmp_path / "table.csv", "--max-steps", "20", "--json", "-").stdout)["fits"][0]
    assert (fit["n_points"], fit["n_censored"]) == (5, 1)
    with pytest.raises(InputError, match="max_steps: got -1"):
        fit_table(tmp_path / "table.csv", max_steps=-1)


SPLIT = "batch_size,steps,host,sparsity\n" + "".join(
    f"{2**i},{1000 // 2**i + 30},n{i % 2},0.5\n" for i in range(8)
)


@pytest.mark.parametrize(
    ("column", "by"),
    [("sparsity", "sparsity"), ("note", "''"), ("lr", "''")],
    ids=["known", "number", "setting"],
)
def test_text_that_splits_a_curve_into_too_few_batch_sizes_is_told_of(tmp_path, column, by):
    path = tmp_path / "table.csv"
    path.write_text(SPLIT.replace("sparsity", column))
    warning = f"the smallest of 4 batch sizes, and 6 are needed; for one curve of them all: --by {by}"
    assert warning in " ".join(run(path).stdout.split())
    one = read_json(run(path, "--by", by.strip("'"), "--json", "-").stdout)
    assert [fit["n_points"] for fit in one["fits"]] == [8]
    assert one["warnings"] == []
    assert read_json(run(path, "--by", "host", "--json", "-").stdout)["warnings"] == []


def test_groups_that_are_all_too_small_are_refused_with_how_to_join_them(tmp_path):
    text = "batch_size,steps,model\n" + "".join(f"{2**i},{500 - i},m{i}\n" for i in range(4))
    assert "--by ''" in refuse_text(tmp_path, text)


@pytest.mark.parametrize("option", ["--json", "--csv", "--plot"])
def test_unwritable_output_is_refused_before_the_table_is_read(tmp_path, option):
    assert "does not exist" in refuse("missing.csv", option, tmp_path / "none" / "fit.png")
    (tmp_path / "fit.png").mkdir()
    assert "is a directory" in refuse("missing.csv", option, tmp_path / "fit.png")


def test_files_are_written_where_nobody_reads_the_page_to_its_end(tmp_path):
    command = f"{sys.executable} -m sparsefit fit {CBS} --json {tmp_path / 'fit.json'} | head -n 1"
    subprocess.run(command, shell=True, capture_output=True, check=True)
    assert read_json((tmp_path / "fit.json").read_text())["schema"] == "sparsefit.fit/1"


def test_one_group_of_many_columns_has_its_sparsity_in_the_tables_and_the_rest_above(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text(
        "model,dataset,sparsity,batch_size,steps\n"
        + "".join(f"cnn,mnist,0.9,{b},{400 // b + 40}\n" for b in (1, 2, 4, 8))
    )
    shown = run(path).stdout
    assert "the group: model cnn, dataset mnist" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines() if line.startswith("0.9")) < 150


def test_models_are_not_ranked_where_the_curve_has_no_score(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text(GOOD)
    line = next(
        line for line in run(path).stdout.splitlines() if line.startswith("all rows") and " - " in line
    )
    assert line.split()[2:9] == ["-"] * 7


def test_group_that_cannot_be_fitted_is_named_and_the_others_are_fitted(tmp_path):
    header, *rows = GOOD.splitlines()
    text = f"model,{header}\n" + "".join(f"a,{row}\n" for row in rows) + "b,1,100\n"
    path = tmp_path / "table.csv"
    path.write_text(text)
    content = read_json(run(path, "--json", "-").stdout)
    assert [fit["group"] for fit in content["fits"]] == [{"model": "a"}]
    assert content["warnings"] == [
        "left out: model b: got 1 batch size (1), allowed are at least 2; measure another batch size"
    ]


def test_outputs_take_neither_each_others_place_nor_that_of_the_input(tmp_path):
    table, target = tmp_path / "table.csv", tmp_path / "out"
    table.write_text(GOOD)
    assert "is the output of --json already" in refuse(table, "--json", target, "--csv", target)
    assert "is the input" in refuse(table, "--csv", table)
    (tmp_path / "link.csv").symlink_to(table)
    assert "is the input" in refuse(table, "--json", tmp_path / "link.csv")
    assert table.read_text() == GOOD
    assert not target.exists()


def test_sweep_in_the_place_of_a_table_is_told_how_to_become_one(tmp_path):
    message = refuse_text(tmp_path, b"SQLite format 3\0" + bytes(100))
    assert "sparsefit collect" in message


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_output_that_cannot_hold_every_letter_gets_question_marks(encoding):
    command = [sys.executable, "-m", "sparsefit", "fit", SPARSE]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"AICc c1/B + c2" in done.stdout


def test_tables_are_whole_on_a_dumb_terminal():
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, _environ={"TERM": "dumb", "COLUMNS": "60"})
    show(console, render(fit_table(SPARSE)))
    assert "85,773 [80,001, 92,360]" in shown.getvalue()


def test_output_to_a_pipe_reaches_its_reader(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        command = [sys.executable, "-m", "sparsefit", "fit", SPARSE, "--json", pipe]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)
        assert len(json.loads(reader.communicate(timeout=60)[0])["fits"]) == 3
