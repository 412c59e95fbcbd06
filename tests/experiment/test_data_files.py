import contextlib
import gzip
import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsefit.errors import InputError
from sparsefit.experiment import data_files
from sparsefit.experiment.data_files import read_source
from sparsefit.experiment.data_formats import cifar_records, idx_array
from tests.experiment.small_data import contents, put, source

FILES = {name: contents(name) for name in ("mnist", "fashion-mnist", "cifar-10")}
FILES["fashion-mnist"] = contents("fashion-mnist", seed=1)
SMALL = {name: source(name, files) for name, files in FILES.items()}


@pytest.fixture(autouse=True)
def no_other_data(monkeypatch, tmp_path):
    """Keep the machine's own data sets out of these tests."""
    monkeypatch.delenv("SPARSEFIT_DATA", raising=False)
    monkeypatch.setattr(data_files, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(data_files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(data_files, "SOURCES", SMALL)


def tar(files, prefix="cifar-10-batches-bin/"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("name", SMALL)
def test_files_are_found_in_the_folder_above_them_in_order_of_precedence(name, monkeypatch, tmp_path):
    folder = SMALL[name].folders[0]
    with pytest.raises(InputError, match="was not found in"):
        read_source(SMALL[name])
    raw = None
    for place in ("debian", "cache", "variable", "given"):
        put(tmp_path / place / folder, FILES[name])
        if place == "variable":
            monkeypatch.setenv("SPARSEFIT_DATA", str(tmp_path / place))
        given_dir = tmp_path / place if place == "given" else None
        assert data_files.find_folder(SMALL[name], given_dir) == tmp_path / place / folder
        raw = read_source(SMALL[name], given_dir)
    assert len(raw.train[0]) == (100 if name == "cifar-10" else 60)
    assert raw.train[1][:12].tolist() == [*range(10), 0, 1]


def test_the_folder_of_the_files_itself_is_understood(tmp_path):
    put(tmp_path / "mnist", FILES["mnist"])
    assert data_files.find_folder(SMALL["mnist"], tmp_path / "mnist") == tmp_path / "mnist"


def test_gzipped_files_are_read_whatever_their_header(tmp_path):
    folder = put(tmp_path / "mnist", {})
    for number, (name, content) in enumerate(FILES["mnist"].items()):
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=number + 1, mtime=number))
    assert read_source(SMALL["mnist"], tmp_path).checksum == reference("mnist", tmp_path)


def reference(name, tmp_path):
    put(tmp_path / "reference" / SMALL[name].folders[0], FILES[name])
    return read_source(SMALL[name], tmp_path / "reference").checksum


@pytest.mark.parametrize("prefix", ["cifar-10-batches-bin/", "../../../", "/etc/"])
def test_the_archive_is_read_without_writing_wherever_its_paths_lead(tmp_path, prefix):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(tar(FILES["cifar-10"], prefix))
    raw = read_source(SMALL["cifar-10"], tmp_path)
    assert raw.checksum == reference("cifar-10", tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "reference"] == [
        "cifar-10-binary.tar.gz"
    ]


def test_a_link_in_the_archive_is_not_followed(tmp_path):
    files = dict(FILES["cifar-10"])
    del files["test_batch.bin"]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(stream.getvalue())
    with pytest.raises(InputError, match=r"does not contain test_batch\.bin"):
        read_source(SMALL["cifar-10"], tmp_path)


def test_a_swapped_file_is_named_for_what_it_is(tmp_path):
    put(tmp_path / "mnist", FILES["fashion-mnist"])
    with pytest.raises(
        InputError, match="it is fashion-mnist's train-images-idx3-ubyte: the files were swapped"
    ):
        read_source(SMALL["mnist"], tmp_path)
    swapped = dict(FILES["cifar-10"])
    swapped["data_batch_1.bin"], swapped["test_batch.bin"] = (
        swapped["test_batch.bin"],
        swapped["data_batch_1.bin"],
    )
    put(tmp_path / "cifar-10", swapped)
    with pytest.raises(InputError, match=r"data_batch_1.bin: it is cifar-10's test_batch.bin"):
        read_source(SMALL["cifar-10"], tmp_path)


def test_a_missing_file_is_named_with_the_ways_to_get_it(tmp_path):
    files = dict(FILES["mnist"])
    del files["t10k-labels-idx1-ubyte"]
    put(tmp_path / "mnist", files)
    with pytest.raises(
        InputError, match=r"t10k-labels-idx1-ubyte is missing. Run 'sparsefit data mnist'.*--from"
    ):
        read_source(SMALL["mnist"], tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(list(SMALL)), compress=st.booleans(), changes=st.data())
def test_a_damaged_file_never_passes(tmp_path, name, compress, changes):
    file = changes.draw(st.sampled_from(list(FILES[name])))
    content = FILES[name][file]
    stored = gzip.compress(content, compresslevel=1) if compress else content
    kind = changes.draw(st.sampled_from(["truncate", "flip", "append", "empty"]))
    place = changes.draw(st.integers(10 if compress else 0, len(stored) - 1))  # gzip ignores name and time
    damaged = {
        "truncate": stored[:place],
        "flip": stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :],
        "append": gzip.compress(content + b"\0") if compress else stored + b"\0",
        "empty": b"",
    }[kind]
    folder = put(tmp_path / SMALL[name].folders[0], FILES[name])
    for path in folder.glob("*.gz"):
        path.unlink()
    (folder / file).write_bytes(damaged)
    with pytest.raises(InputError) as caught:
        read_source(SMALL[name], tmp_path)
    assert file in str(caught.value)
    (folder / file).write_bytes(content)


def test_the_message_says_expected_and_found_checksum_and_length(tmp_path):
    put(tmp_path / "mnist", {**FILES["mnist"], "train-labels-idx1-ubyte": b"abc"})
    with pytest.raises(InputError) as caught:
        read_source(SMALL["mnist"], tmp_path)
    message = str(caught.value)
    assert "truncated: 3 of 68 bytes" in message
    assert SMALL["mnist"].files[1].sha256 in message
    assert "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in message  # SHA-256 of abc


def test_a_gzip_file_that_unpacks_to_far_too_much_is_not_unpacked(tmp_path):
    put(tmp_path / "mnist", {**FILES["mnist"], "train-labels-idx1-ubyte": gzip.compress(bytes(50_000_000))})
    with pytest.raises(InputError, match="longer than 68 bytes"):
        read_source(SMALL["mnist"], tmp_path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "got nothing"),
        (bytes([0, 0, 8, 1]) + bytes(4), "got 00 00 08 01, expected 00 00 08 03"),
        (bytes([0, 0, 13, 3]) + bytes(12), "got 00 00 0d 03"),
        (bytes([0, 0, 8, 3]) + bytes([0, 0, 0, 2] * 3) + bytes(7), "has 23 bytes, but its header"),
        (bytes([0, 0, 8, 3]) + bytes([255] * 12), "announces"),
    ],
)
def test_an_idx_file_that_is_none_is_refused(content, part):
    with pytest.raises(InputError, match=part):
        idx_array(content, "images", 3)


def test_cifar_records_that_are_none_are_refused():
    with pytest.raises(InputError, match="not a multiple of CIFAR-10's 3073"):
        cifar_records(bytes(3_074), "batch")
    with pytest.raises(InputError, match="has the label 10"):
        cifar_records(bytes([10]) + bytes(3_072), "batch")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(content):
    for decode in (
        lambda c: idx_array(c, "x", 1),
        lambda c: idx_array(c, "x", 3),
        lambda c: cifar_records(c, "x"),
    ):
        with contextlib.suppress(InputError):
            decode(content)
