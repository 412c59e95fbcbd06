"""Every way to hand over a table gives the same cells; a damaged one gives one message."""

import contextlib
import gzip
import hashlib
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefit import fit
from sparsefit.errors import InputError
from sparsefit.fitting.reading import read_table

TEXT = "batch_size,steps,note\n8,500,a b\n16,300,\n"
CELLS = [["8", "500", "a b"], ["16", "300", ""]]
SEMICOLON, TAB = TEXT.replace(",", ";"), TEXT.replace(",", "\t")
CONTENT = {
    "plain": TEXT.encode(),
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "CRLF": TEXT.replace("\n", "\r\n").encode(),
    "semicolons": SEMICOLON.encode(),
    "tabs": TAB.encode(),
    "all three": b"\xef\xbb\xbf" + SEMICOLON.replace("\n", "\r\n").encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "gzip": gzip.compress(TEXT.encode()),
    "no last newline": TEXT.rstrip("\n").encode(),
    "spaces": TEXT.replace(",", " , ").encode(),
    "blank line first": b"\n" + TEXT.encode(),
}


@pytest.fixture
def write(tmp_path):
    def write_bytes(content):
        path = tmp_path / "table"
        path.write_bytes(content)
        return path

    return write_bytes


@pytest.mark.parametrize("kind", CONTENT)
def test_the_same_cells_come_from_every_form_of_csv(kind, write):
    table, _ = read_table(write(CONTENT[kind]))
    assert list(table.columns) == ["batch_size", "steps", "note"]
    assert table.to_numpy().tolist() == CELLS


def test_parquet_gives_the_cells_as_text_and_missing_ones_empty(tmp_path):
    path = tmp_path / "table.bin"
    pd.DataFrame({"batch_size": [8, 16], "steps": [500, None], "note": ["a b", None]}).astype(
        {"steps": "Int64"}
    ).to_parquet(path)
    table, _ = read_table(path)
    assert table.to_numpy().tolist() == [["8", "500", "a b"], ["16", "", ""]]


def test_standard_input_is_read_for_a_dash(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CONTENT["gzip"])))
    table, source = read_table("-")
    assert table.to_numpy().tolist() == CELLS
    assert source.path == "-"


@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_the_source_holds_the_hash_of_the_bytes_as_they_are(kind, write):
    path = write(CONTENT[kind])
    _, source = read_table(path)
    assert source.sha256 == hashlib.sha256(CONTENT[kind]).hexdigest()
    assert (source.path, source.rows) == (str(path), 2)


def test_words_for_missing_cells_stay_as_they_are(write):
    table, _ = read_table(write(b"batch_size,steps\n8,NA\n"))
    assert table.steps[0] == "NA"


def test_decimal_commas_are_read_beside_semicolons(write):
    text = "batch_size;lr;steps;layers;note\n8;0,03;8055,8;3;a, b\n16;1,5e-2;-1;3,5;1,5\n"
    table, _ = read_table(write(text.encode()))
    assert table.to_numpy().tolist() == [
        ["8", "0.03", "8055.8", "3", "a, b"],
        ["16", "1.5e-2", "-1", "3.5", "1,5"],
    ]


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("Batch Size;Steps to target\n8;8.055\n64;1.140\n128;660\n", "'Steps to target': got '8.055'"),
        ("batch_size;steps\n512;318\n1.024;250\n", "'batch_size': got '1.024'"),
        ("batch_size;steps\n512;1,318\n1024;250\n", "'steps': got '1.318'"),
        ("batch_size;steps\n8;8.055\n16;4.120\n", "'steps': got '8.055'"),
        ("batch_size;steps;max_steps\n8;-1;20.000\n16;250;20.000\n", "'max_steps': got '20.000'"),
        ("batch_size;steps;eval_interval\n8;80000;1.000\n16;40000;1.000\n", "'eval_interval': got '1.000'"),
    ],
)
def test_separators_that_may_be_those_of_thousands_are_refused(text, got, write):
    with pytest.raises(InputError, match=f"{got}, which may mean.*without a separator of thousands"):
        fit(write(text.encode()))


@pytest.mark.parametrize(
    "steps",
    [("8.055", "0.660", "3"), ("8055.125", "660", "3"), ("433.5", "216.667", "3"), ("8.0550", "3.9500", "3")],
)
def test_decimals_that_can_be_no_thousands_are_read(steps, write):
    text = "batch_size;steps\n" + "".join(f"{8 * 2**i};{cell}\n" for i, cell in enumerate(steps))
    (found,) = fit(write(text.encode())).fits
    assert tuple(found.upper) == tuple(map(float, steps))


def test_thousands_in_columns_that_are_not_read_do_not_matter(write):
    text = "batch_size;steps;steps_per_second;loss\n8;500;1.234;2.345\n16;300;2;1\n"
    assert fit(write(text.encode())).fits


JSON = {
    '[{"batch_size": 8, "lr": 0.01}, {"batch_size": 16, "lr": 0.01}]': "this is JSON; allowed is a CSV",
    '{"batch_size": 8, "lr": 0.01}\n{"batch_size": 16, "lr": 0.01}\n': "this is JSON; allowed is a CSV",
    '{\n  "schema": "sparsefit.fit/1",\n  "fits": []\n}': r"wrote \(sparsefit.fit/1\).*sparsefit plan",
    '{"schema": "sparsefit.validation/1"}': r"sparsefit wrote \(sparsefit.validation/1\), not a table",
}


@pytest.mark.parametrize("text", JSON)
def test_json_is_called_json(text, write):
    with pytest.raises(InputError, match=JSON[text]):
        read_table(write(text.encode()))


def test_a_header_that_begins_as_json_is_a_header(write):
    table, _ = read_table(write(b"[B],steps\n8,500\n"))
    assert list(table.columns) == ["[B]", "steps"]


GOOD_GZIP = gzip.compress(TEXT.encode() * 50)
BAD = {
    "cut gzip": (GOOD_GZIP[:-9], "gzip file is damaged"),
    "gzip with a wrong check sum": (GOOD_GZIP[:-8] + b"\0" * 8, "gzip file is damaged"),
    "gzip with noise inside": (GOOD_GZIP[:12] + b"\xff" * 20, "gzip file is damaged"),
    "gzip of nothing": (gzip.compress(b""), "empty"),
    "nothing": (b"", "empty"),
    "white space": (b" \n\n", "empty"),
    "header only": (b"batch_size,steps\n", "no row below it"),
    "cut Parquet": (b"PAR1" + b"\0" * 40, "Parquet file is damaged"),
    "Latin-1": ("batch_size,steps,näme\n8,5,x\n".encode("latin-1"), "is not UTF-8 text"),
    "zero bytes": (b"batch_size,steps\n8,5\0\n", "zero bytes"),
    "one name twice": (b"batch_size,steps,steps\n8,5,6\n", "'steps' twice"),
    "a row that is longer": (b"batch_size,steps\n8,5\n16,3,7\n", "not a table"),
    "all rows longer": (b"batch_size,steps\n8,5,1\n16,3,7\n", "more fields"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_table_is_refused_with_its_name_and_the_reason(kind, write):
    content, reason = BAD[kind]
    path = write(content)
    with pytest.raises(InputError, match=reason) as error:
        read_table(path)
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="is a directory"):
        read_table(tmp_path)


CELL = st.text(st.sampled_from("0123456789.-+eE,;\t\"' \nab"), max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(st.lists(CELL, max_size=4), max_size=8)))
def test_any_bytes_give_a_fit_or_one_message(tmp_path_factory, content):
    if isinstance(content, list):
        content = "batch_size,steps\n" + "\n".join(",".join(row) for row in content)
        content = content.encode()
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(content)
    with contextlib.suppress(InputError):  # every other exception, and every warning, fails the test
        fit(path).to_dict()


@pytest.mark.parametrize(
    "text", ["batch_size|steps\n8|500\n", "batch_size steps\n8 500\n", "# a\nb,k\n8,500\n"]
)
def test_a_first_line_of_one_column_is_said_to_be_one(tmp_path, text):
    path = tmp_path / "steps.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"is one column; .*a comma, semicolon or tab between them"):
        read_table(path)
