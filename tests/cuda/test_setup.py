"""What the build does with and without nvcc, and what a build says of itself."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from sparsefit.cli.env import command
from sparsefit.conv.cuda import missing, serves
from sparsefit.conv.kernels import load_core
from sparsefit.errors import CudaError
from tests.cuda.compiling import ROOT


def build(tmp_path, nvcc=None, **variables):
    """Run build_ext, which is to fail, with an nvcc that is the given shell script, or with none."""
    (tmp_path / "bin").mkdir()
    if nvcc is not None:
        script = tmp_path / "bin" / "nvcc"
        script.write_text(f"#!/bin/sh\n{nvcc}\n")
        script.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARSEFIT_CUDA")}
    environment |= {"CUDA_HOME": str(tmp_path)} | variables
    folders = ["--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path / "temp")]
    result = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", *folders],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


def test_asking_for_cuda_without_nvcc_fails(tmp_path):
    assert "SPARSEFIT_CUDA=1, but there is no nvcc" in build(tmp_path, SPARSEFIT_CUDA="1")


def test_an_unknown_choice_is_refused_by_name(tmp_path):
    assert "SPARSEFIT_CUDA=yes: allowed are 0, 1 and auto" in build(tmp_path, SPARSEFIT_CUDA="yes")


def test_without_a_compiler_the_build_names_both_ways_on(tmp_path):
    error = build(tmp_path, SPARSEFIT_CUDA="0", CC="/nowhere/gcc", CXX="/nowhere/g++")
    assert "install GCC 9 or newer" in error
    assert "SPARSEFIT_CORE=0 pip install ." in error


def test_an_unknown_word_on_the_core_is_refused_by_name(tmp_path):
    assert "SPARSEFIT_CORE=no: allowed are 0 and 1" in build(tmp_path, SPARSEFIT_CORE="no")


def test_an_unreadable_architecture_is_refused_by_name(tmp_path):
    error = build(tmp_path, "exit 0", SPARSEFIT_CUDA_ARCHS="80;hopper")
    assert "SPARSEFIT_CUDA_ARCHS=80;hopper: write numbers" in error


def test_an_architecture_whose_ptx_no_later_gpu_takes_is_not_the_last(tmp_path):
    error = build(tmp_path, "exit 0", SPARSEFIT_CUDA_ARCHS="80;90a")
    assert "SPARSEFIT_CUDA_ARCHS=80;90a: the last one is kept as PTX" in error


def test_a_failing_nvcc_stops_the_build_and_says_how_to_go_on(tmp_path):
    error = build(tmp_path, 'case "$1" in --list*) echo sm_90;; *) echo "no such option" >&2; exit 1;; esac')
    assert "no such option" in error
    assert "-gencode=arch=compute_90,code=sm_90" in error
    assert "sm_80" not in error, "an architecture that this nvcc does not know"
    assert "Set SPARSEFIT_CUDA=0 to build without kernels for GPUs" in error


def test_an_nvcc_without_default_architectures_asks_for_one(tmp_path):
    assert "SPARSEFIT_CUDA_ARCHS" in build(tmp_path, "echo sm_61")


def test_env_says_what_the_core_has_for_gpus_and_what_is_missing():
    core = load_core()
    missing = core.cuda_unavailable()
    output = CliRunner().invoke(command).output
    (line,) = [line for line in output.splitlines() if line.startswith("cuda  ")]
    if core.cuda_architectures():
        assert f"kernels for {', '.join(core.cuda_architectures())}" in line
    assert missing in line


@pytest.mark.parametrize(
    ("code", "capability", "runs"),
    [
        ("sm_80", (8, 6), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("sm_100", (10, 3), True),
        ("sm_90a", (9, 0), True),
        ("sm_100a", (10, 3), False),
        ("sm_100f", (10, 3), True),
        ("sm_100f", (12, 0), False),
        ("compute_100", (12, 0), True),
        ("compute_80", (7, 5), False),
        ("compute_90a", (10, 0), False),
    ],
)
def test_code_runs_on(code, capability, runs):
    assert serves(code, capability) == runs


def test_a_device_older_than_the_build_has_no_kernels(monkeypatch):
    built = ["sm_80", "sm_90", "compute_90"]
    core = SimpleNamespace(cuda_architectures=lambda: built, cuda_unavailable=lambda: "")
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda index: [(7, 5), (8, 9)][index])
    find = missing.__wrapped__
    assert find(core, 0).startswith("the device is sm_75, and this build has kernels for sm_80, sm_90")
    assert find(core, 1) == ""


def test_without_a_gpu_the_reason_is_an_error_with_the_name_of_the_call():
    core = load_core()
    if not core.cuda_unavailable():
        pytest.skip("a GPU is here")
    if core.cuda_architectures() and "shows no device" in core.cuda_unavailable():
        assert core.cuda_devices() == []
        return
    with pytest.raises(CudaError) as caught:
        core.cuda_devices()
    assert str(caught.value) == core.cuda_unavailable()
    assert "cudaGetDeviceCount" in str(caught.value) or "no CUDA kernels" in str(caught.value)
