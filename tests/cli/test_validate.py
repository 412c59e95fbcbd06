"""``sparsefit validate`` from the outside: page, file, exit codes, and what it says to bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sparsefit.cli import group
from sparsefit.errors import SparsefitError

ROOT = Path(__file__).parents[2]
SPARSE = str(ROOT / "examples" / "simulated_sparsity.csv")
CBS = str(ROOT / "examples" / "cbs_pretraining.csv")
PAPER = str(ROOT / "examples" / "lee2020_simple_cnn.json")


def run(*arguments, text=None):
    return CliRunner().invoke(group, ["validate", *map(str, arguments)], input=text, catch_exceptions=False)


def refuse(*arguments, text=None):
    with pytest.raises(SparsefitError) as caught:
        run(*arguments, text=text)
    return str(caught.value)


def read_json(*arguments, text=None):
    return json.loads(run(*arguments, "--json", "-", text=text).stdout)


def test_page_has_every_claim_and_definition(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    shown = run(SPARSE).stdout
    for words in (
        "K* = c1/B + c2 describes",
        "replicates",
        "2^r",
        "Linear scaling",
        "one factor",
        "momentum",
    ):
        assert words in shown
    for words in (
        "learning rate grows",
        "inside the search range",
        "ΔLβ",
        "both overheads double",
        "last linear",
    ):
        assert words in shown
    assert "…" not in shown


def test_public_table_contradicts_the_curve_for_one_model_and_cannot_confirm_it_for_the_others():
    claims = {
        claim["group"]["model_size"]: claim["verdict"]
        for claim in read_json(CBS)["claims"]
        if claim["name"] == "hyperbola"
    }
    assert claims.pop("151M-ablation") == "fails"
    assert set(claims.values()) == {"cannot tell"}  # nine batch sizes show a softer knee in under half


def test_exit_code_is_0_whatever_the_verdict_unless_strict():
    assert run(CBS).exit_code == 0
    assert run(CBS, "--strict").exit_code == 1
    assert run(SPARSE, "--strict").exit_code == 0


def test_file_is_written_where_a_claim_fails_too(tmp_path):
    path = tmp_path / "v.json"
    assert run(CBS, "--strict", "--json", path).exit_code == 1
    content = json.loads(path.read_text())
    assert content["schema"] == "sparsefit.validation/1"
    assert content["counts"]["fails"] == sum(claim["verdict"] == "fails" for claim in content["claims"]) > 0
    assert content["input"]["path"] == CBS
    assert len(content["input"]["sha256"]) == 64


def test_standard_input_is_read():
    text = Path(SPARSE).read_text()
    assert read_json("-", text=text)["claims"] == read_json(SPARSE)["claims"]


def test_several_tables_count_as_one(tmp_path):
    header, *rows = Path(SPARSE).read_text().splitlines()
    parts = [tmp_path / "dense.csv", tmp_path / "sparse.csv"]
    for part, dense in zip(parts, (True, False), strict=True):
        part.write_text("\n".join([header, *(row for row in rows if (",0.0," in row) == dense)]))
    content = read_json(*parts)
    assert content["claims"] == read_json(SPARSE)["claims"]
    assert content["input"]["path"] == f"{parts[0]}, {parts[1]}"


def test_decomposition_is_put_beside_the_fit(tmp_path):
    table = tmp_path / "table.csv"
    name = json.loads(Path(PAPER).read_text())["workload"]
    table.write_text(Path(SPARSE).read_text().replace("simulated", f'"{name}"'))
    content = read_json(table, "--decomposition", PAPER)
    found = [claim for claim in content["claims"] if claim["name"] == "c1_ratio"]
    assert [claim["group"]["sparsity"] for claim in found] == [0.9]
    assert content["decompositions"] == [name]


def test_options_of_the_definitions_are_used():
    sizes = read_json(SPARSE, "--overhead", 0.5, "--first-batch-size", 32)["critical_batch_sizes"]
    formulas = {size["formula"] for size in sizes}
    assert formulas == {"c1/c2", "0.5 c1/c2", "0.5 c1/c2 + 1.5 B0", "K B <= 1.5 K0 B0"}
    assert any("B0 = 32" in size["definition"] for size in sizes)


def test_validate_of_a_table_imports_no_torch():
    code = (
        "import sys; from sparsefit.cli import main; sys.argv[:] = ['', 'validate', sys.argv[1]]; main();"
        "heavy = {'torch', 'matplotlib', 'lmfit', 'statsmodels'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, SPARSE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (b"\x00\x01\x02\xff" * 40, "binary"),
        ("batch_size,steps\n", "no row"),
        ("size,loss\n1,2\n", "no batch size column"),
        ("batch_size,epochs\n1,2\n", "no steps column"),
        ("batch_size,steps\n1,100\n2,soon\n", "row 2 below the header, column 'steps': got 'soon'"),
        ("batch_size,steps\n1,100\n0,50\n", "got '0'"),
        ("batch_size,steps\n1,100\n2,inf\n", "got 'inf'"),
        ("batch_size,steps\n2,100\n", "at least 2"),
        ("batch_size,steps\n2,100\n2,90\n", "disagree"),
        ("batch_size,steps,max_steps\n2,-1,500\n4,-1,500\n8,-1,500\n", "every row is censored"),
        ("batch_size,steps\n2,-2\n4,-2\n", "diverged"),
        (
            "batch_size,steps,learning_rate\n2,90,0.1\n4,50,-3\n",
            "row 2 below the header, column 'learning_rate'",
        ),
        ("batch_size,steps,lr\n2,90,0.1\n4,50,fast\n", "got 'fast'"),
        (b"SQLite format 3\0" + b"\0" * 100, "damaged"),
    ],
)
def test_bad_table_is_refused_with_its_reason(tmp_path, text, said):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert said in refuse(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--confidence", "1.5"), "confidence: got 1.5"),
        (("--eval-interval", "-3"), "eval_interval: got -3"),
        (("--by", "colour"), "--by: got 'colour'"),
        (("--batch-column", "colour"), "--batch-column"),
        (("--overhead", "0"), "overhead: got 0"),
        (("--overhead", "nan"), "overhead: got nan"),
        (("--first-batch-size", "-8"), "first_batch_size: got -8"),
        (("--decomposition", "none.json"), "none.json cannot be read"),
        (("--decomposition", SPARSE), "not JSON"),
        (("--json", "none/v.json"), "does not exist"),
    ],
)
def test_bad_option_is_refused_with_what_is_allowed(options, said):
    assert said in refuse(SPARSE, *options)


def test_missing_file_directory_and_second_standard_input_are_refused(tmp_path):
    assert "no such file" in refuse(tmp_path / "none.csv")
    assert "is a directory" in refuse(tmp_path)
    assert "stands twice" in refuse("-", "-")


def test_sweep_is_read_with_its_trials(tmp_path):
    path = tmp_path / "digits.db"
    options = ["--workload", "digits", "--batch-sizes", "32,64", "--sparsity", "0.9", "--trials", "2"]
    done = CliRunner().invoke(group, ["sweep", *options, "--jobs", "1", "--out", str(path)])
    assert done.exit_code == 0, done.output
    content = read_json(path)
    assert content["input"]["level"] == "trials"
    assert content["input"]["path"] == str(path)
    inside = next(claim for claim in content["claims"] if claim["name"] == "learning_rate_inside")
    assert "learning_rate" in inside["details"][0]


def test_points_that_may_be_thousands_are_refused_beside_a_table_with_commas(tmp_path):
    one, other = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_text("batch_size;steps;loss\n8;8.055;0,1\n16;4.055;0,1\n32;2.055;0,1\n")
    for last in ("600", "600.5"):
        other.write_text(f"batch_size,steps\n64,1000\n128,{last}\n")
        for tables in ([one], [one, other], [other, one]):
            said = refuse(*tables)
            assert "which may mean 8055 or three decimals" in said
            assert str(one) in said


def test_decimals_of_a_table_with_commas_are_read_beside_one_with_semicolons(tmp_path):
    one, other = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_text("batch_size;steps\n8;8055,5\n16;4055\n32;2055\n")
    other.write_text("batch_size,steps\n64,1055.125\n128,555.125\n")
    found = read_json(one, other)
    assert found["input"]["rows"] == 5
