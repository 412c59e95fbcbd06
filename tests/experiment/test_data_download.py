import gzip
import os

import pytest
from click.testing import CliRunner

from sparsefit.cli.data import command
from sparsefit.errors import InputError
from sparsefit.experiment import data_download, data_files
from sparsefit.experiment.data_download import download, import_files
from sparsefit.experiment.data_sources import SOURCES
from tests.experiment.small_data import contents, put, source
from tests.experiment.test_data_files import tar

FILES = {"mnist": contents("mnist"), "cifar-10": contents("cifar-10")}
SMALL = {name: source(name, files) for name, files in FILES.items()}


@pytest.fixture(autouse=True)
def small_sources(monkeypatch):
    for name, small in SMALL.items():
        monkeypatch.setitem(SOURCES, name, small)
    monkeypatch.delenv("SPARSEFIT_DATA", raising=False)


@pytest.fixture
def mirror(monkeypatch):
    """Stand in for the network: addresses with their content; what is asked for is recorded."""
    pages, asked = {}, []

    def retrieve(url, path):
        asked.append(url)
        if url not in pages:
            raise OSError("404 not found")
        path.write_bytes(pages[url])
        return path

    monkeypatch.setattr(data_download, "retrieve", retrieve)
    retrieve.pages, retrieve.asked = pages, asked
    return retrieve


def offer(pages, name, number=0, files=None):
    base = SMALL[name].mirrors[number]
    files = files or FILES[name]
    if SMALL[name].archive:
        pages[base + SMALL[name].archive] = tar(files)
    else:
        pages.update({f"{base}{file}.gz": gzip.compress(content) for file, content in files.items()})


def stored(root, name):
    return {path.name: path.read_bytes() for path in (root / SMALL[name].folders[0]).iterdir()}


@pytest.mark.parametrize("name", SMALL)
def test_downloads_are_stored_uncompressed_and_not_repeated(name, mirror, tmp_path):
    offer(mirror.pages, name)
    download(SMALL[name], tmp_path, print)
    assert stored(tmp_path, name) == FILES[name]
    n = len(mirror.asked)
    download(SMALL[name], tmp_path, print)
    assert len(mirror.asked) == n


def test_the_second_mirror_serves_when_the_first_has_a_wrong_file(mirror, tmp_path):
    offer(mirror.pages, "mnist", 0, dict.fromkeys(FILES["mnist"], b"a wrong file"))
    offer(mirror.pages, "mnist", 1)
    download(SMALL["mnist"], tmp_path, print)
    assert stored(tmp_path, "mnist") == FILES["mnist"]


def test_an_interrupted_download_goes_on_with_the_files_that_lack(mirror, tmp_path):
    offer(mirror.pages, "mnist")
    last = f"{SMALL['mnist'].mirrors[0]}t10k-labels-idx1-ubyte.gz"
    page = mirror.pages.pop(last)
    with pytest.raises(InputError, match="could not be downloaded"):
        download(SMALL["mnist"], tmp_path, print)
    assert len(stored(tmp_path, "mnist")) == 3
    mirror.pages[last] = page
    mirror.asked.clear()
    download(SMALL["mnist"], tmp_path, print)
    assert mirror.asked == [last]
    assert stored(tmp_path, "mnist") == FILES["mnist"]


def test_a_damaged_file_in_place_is_downloaded_again(mirror, tmp_path):
    put(tmp_path / "mnist", {**FILES["mnist"], "train-labels-idx1-ubyte": b"damaged"})
    offer(mirror.pages, "mnist")
    download(SMALL["mnist"], tmp_path, print)
    assert len(mirror.asked) == 1
    assert stored(tmp_path, "mnist") == FILES["mnist"]


def test_without_a_network_the_message_says_what_to_put_where(mirror, tmp_path):
    with pytest.raises(InputError) as caught:
        download(SMALL["cifar-10"], tmp_path, print)
    for part in (
        "404 not found",
        "cifar-10-binary.tar.gz",
        "test_batch.bin",
        "--from FOLDER",
        "SPARSEFIT_DATA",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("form", ["plain", "gz", "below"])
def test_idx_files_are_imported_in_every_form(form, tmp_path):
    files = FILES["mnist"]
    if form == "gz":
        files = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    put(tmp_path / "there" / ("MNIST/raw" if form == "below" else ""), files)
    import_files(SMALL["mnist"], tmp_path / "there", tmp_path / "here")
    assert stored(tmp_path / "here", "mnist") == FILES["mnist"]


@pytest.mark.parametrize("form", ["folder", "archive", "folder of the archive"])
def test_cifar_is_imported_in_every_form(form, tmp_path):
    origin = put(tmp_path / "there", FILES["cifar-10"] if form == "folder" else {})
    if form != "folder":
        (origin / "cifar-10-binary.tar.gz").write_bytes(tar(FILES["cifar-10"]))
    given = origin / "cifar-10-binary.tar.gz" if form == "archive" else origin
    import_files(SMALL["cifar-10"], given, tmp_path / "here")
    assert stored(tmp_path / "here", "cifar-10") == FILES["cifar-10"]


def test_nothing_is_imported_when_one_file_is_wrong(tmp_path):
    put(tmp_path / "there", {**FILES["mnist"], "t10k-labels-idx1-ubyte": b"wrong"})
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte"):
        import_files(SMALL["mnist"], tmp_path / "there", tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("what", ["absent", "empty", "pickles", "file"])
def test_an_origin_without_the_files_is_refused(what, tmp_path):
    origin = tmp_path / what
    if what == "empty":
        origin.mkdir()
    elif what == "pickles":
        put(origin, {f"data_batch_{i}": b"\x80\x04." for i in range(1, 6)})
    elif what == "file":
        origin.write_bytes(b"not an archive")
    for name in SMALL:
        with pytest.raises(InputError, match=r"there is no such|none of|four files|cannot be read as a tar"):
            import_files(SMALL[name], origin, tmp_path / "here")


def test_a_full_disk_leaves_no_partial_file(monkeypatch, tmp_path):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    put(tmp_path / "there", FILES["mnist"])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        import_files(SMALL["mnist"], tmp_path / "there", tmp_path / "here")
    assert list((tmp_path / "here" / "mnist").iterdir()) == []


def test_the_command_imports_and_says_where(tmp_path):
    put(tmp_path / "there", FILES["mnist"])
    options = ["mnist", "digits", "--from", str(tmp_path / "there"), "--data-dir", str(tmp_path / "here")]
    result = CliRunner().invoke(command, options, catch_exceptions=False)
    assert result.exit_code == 0
    assert f"mnist: imported into {tmp_path / 'here' / 'mnist'}" in result.output
    assert "digits: comes with scikit-learn" in result.output


def test_the_command_uses_the_named_folder_else_the_variable_else_the_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(data_files, "cache_folder", lambda: tmp_path / "cache")
    put(tmp_path / "there", FILES["mnist"])
    options = ["mnist", "--from", str(tmp_path / "there")]
    CliRunner().invoke(command, options, catch_exceptions=False)
    assert (tmp_path / "cache" / "mnist").is_dir()
    CliRunner().invoke(
        command, options, env={"SPARSEFIT_DATA": str(tmp_path / "variable")}, catch_exceptions=False
    )
    assert (tmp_path / "variable" / "mnist").is_dir()


def test_an_unknown_name_is_refused_before_anything_is_done(mirror, tmp_path):
    with pytest.raises(
        InputError, match="unknown data set 'svhn'; known: mnist, fashion-mnist, cifar-10, digits"
    ):
        CliRunner().invoke(command, ["mnist", "svhn", "--data-dir", str(tmp_path)], catch_exceptions=False)
    assert not mirror.asked
