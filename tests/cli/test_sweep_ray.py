"""Sweeps on a Ray cluster: the same numbers as on one machine, and the same ways to stop."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from sparsefit.experiment.store import open_store
from tests.cli.invoking import invoke, message

GRID = ["--workload", "digits", "--batch-sizes", "32,64", "--sparsity", "0,0.9", "--trials", "3"]


@pytest.mark.slow
def test_a_sweep_and_its_repeats_are_those_of_one_machine(ray_address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers of a cluster stand elsewhere, and share masks all the same
    found = {}
    for name, options in (("local", []), ("ray", ["--engine", "ray", "--address", ray_address])):
        result = invoke("sweep", *GRID, "--jobs", "2", "--out", f"{name}.db", *options)
        assert result.exit_code == 0, result.output
        assert "12 of 12 trials" in result.output
        result = invoke("repeat", f"{name}.db", "--seeds", "1", "--jobs", "2", *options)
        assert result.exit_code == 0, result.output
        assert len(list((tmp_path / f"{name}.db.masks").iterdir())) > 3
        for table, option in (("trials", "--trials"), ("repeats", "--repeats")):
            assert invoke("collect", f"{name}.db", option, "-o", f"{name}_{table}.csv").exit_code == 0
            rows = pd.read_csv(f"{name}_{table}.csv")
            columns = ["sparsity", "batch_size", "status", "steps"]
            found[name, table] = rows[columns].sort_values(columns, ignore_index=True)
    for table in ("trials", "repeats"):
        pd.testing.assert_frame_equal(found["local", table], found["ray", table])
    with open_store("ray.db") as store:
        session = store.sessions()[1]
    assert session["jobs"] == 2
    assert session["machines"].count("CPUs") == 2
    with open_store("local.db") as store:
        assert "machines" not in store.sessions()[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--address", "127.0.0.1:1"], "give --engine ray too"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["--engine", "ray", "--address", "here"], "allowed HOST:PORT of its head"),
    ],
)
def test_a_cluster_that_is_not_there_is_told_before_anything_is_written(options, words, tmp_path):
    if "--engine" in options:
        pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    out = tmp_path / "x.db"
    assert words in message("sweep", *GRID, "--out", out, *options)
    assert not out.exists()
    assert words in message("repeat", out, *options)


def test_without_ray_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = message("sweep", *GRID, "--engine", "ray", "--out", tmp_path / "x.db")
    assert "pip install 'sparsefit[ray]'" in said


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_sweep_cleanly_and_it_resumes(number, code, ray_address, tmp_path):
    path = tmp_path / "stopped.db"
    ray = ["--engine", "ray", "--address", ray_address]
    grid = ["--workload", "digits", "--batch-sizes", "64", "--sparsity", "0.9", "--trials", "24"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsefit", "sweep", *grid, *ray, "--out", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        # a shell starts its background jobs with SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert "trials" in process.stderr.readline()
    time.sleep(0.1)
    process.send_signal(number)
    output, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert output == ""
    assert error.strip().splitlines()[-1].endswith(f"go on with: sparsefit sweep --resume {path}")
    assert "Traceback" not in error
    result = invoke("sweep", "--resume", path, *ray)
    assert "24 of 24 trials" in result.output
