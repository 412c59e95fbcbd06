"""The folder of a report: replaced if it is one, refused if it is not."""

import json
import os

import pytest

from sparsefit.errors import InputError
from sparsefit.report.folder import MANIFEST, check_folder, write_folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_second_report_replaces_the_first_and_leaves_other_files(tmp_path):
    out = tmp_path / "report"
    write_folder(out, {"index.html": b"1", "figures/old.png": b"1"})
    (out / "notes.txt").write_text("mine")
    write_folder(out, {"index.html": b"2", "figures/new.png": b"2"})
    assert names(out) == sorted(["index.html", "figures/new.png", "notes.txt", MANIFEST])
    assert (out / "index.html").read_bytes() == b"2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report"]


@pytest.mark.parametrize("first", [{}, {"index.html": b"1", "figures/old.png": b"1"}])
@pytest.mark.parametrize("until", range(4))
def test_interrupted_report_is_replaced_by_the_next(tmp_path, monkeypatch, first, until):
    out, done = tmp_path / "report", []
    if first:
        write_folder(out, first)

    def replace(source, target):
        if len(done) == until:
            raise KeyboardInterrupt
        done.append(target)
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", replace)
        with pytest.raises(KeyboardInterrupt):
            write_folder(out, {"index.html": b"2", "figures/new.png": b"2"})
    write_folder(out, {"index.html": b"3"})
    assert names(out) == ["index.html", MANIFEST]


def test_empty_folder_is_used(tmp_path):
    write_folder(tmp_path, {"index.html": b"1"})
    assert names(tmp_path) == ["index.html", MANIFEST]


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "not json",
        json.dumps({"schema": "another/1", "files": []}),
        json.dumps({"schema": "sparsefit.report/1", "files": ["../precious.txt"]}),
        json.dumps({"schema": "sparsefit.report/1", "files": [1]}),
        json.dumps(["sparsefit.report/1"]),
    ],
)
def test_foreign_folder_is_refused_and_untouched(tmp_path, manifest):
    precious, out = tmp_path / "precious.txt", tmp_path / "out"
    out.mkdir()
    precious.write_text("keep")
    (out / "thesis.tex").write_text("keep")
    if manifest is not None:
        (out / MANIFEST).write_text(manifest)
    before = names(tmp_path)
    with pytest.raises(InputError, match="no sparsefit report"):
        write_folder(out, {"index.html": b"1"})
    assert names(tmp_path) == before


def test_output_that_is_a_file_or_has_no_parent_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_folder(file)
    with pytest.raises(InputError, match="does not exist"):
        check_folder(tmp_path / "no" / "report")
