"""The benchmark of a GPU, up to its clock: checks and rows on emulated kernels, its words without a GPU."""

import importlib
import subprocess
import sys
from argparse import Namespace

import pytest
import torch

from sparsefit.conv.kernels import load_core
from tests.cuda.compiling import ROOT
from tests.cuda.emulated import emulated  # noqa: F401

OPTIONS = Namespace(sparsities=[0.5, 0.9], rounds=2)


@pytest.fixture
def benchmark(monkeypatch):
    """Return benchmarks/kernels_cuda.py; torch's settings are put back afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = torch.backends.cuda.matmul.allow_tf32
    yield importlib.import_module("kernels_cuda")
    torch.backends.cuda.matmul.allow_tf32 = before


def layer(**options):
    """Return a small layer of a shapes file."""
    sizes = {"c_in": 3, "height": 7, "width": 5, "c_out": 4, "kernel": 3, "stride": 2, "pad_before": 1}
    return importlib.import_module("layers").Layer(
        **{"name": "small", **sizes, "pad_after": 1, "first": False, **options}
    )


def half_a_millisecond(candidate, calls):
    """Stand in for the events of a GPU."""
    candidate()
    return 0.5


@pytest.mark.usefixtures("emulated")
def test_every_pass_is_checked_then_timed_against_both_dense_modes(benchmark):
    rows = benchmark.measure(layer(), 5, OPTIONS, "cpu", half_a_millisecond)
    assert {(row["pass"], row["sparsity"]) for row in rows} == {
        (name, sparsity) for name in benchmark.PASSES for sparsity in OPTIONS.sparsities
    }
    for row in rows:
        assert set(benchmark.HEADER) == set(row)
        assert row["µs"] == 500
        assert row["over float32"] == row["over TF32"] == 1
        assert row["spread"] == 0


@pytest.mark.usefixtures("emulated")
def test_a_first_layer_has_no_gradient_to_the_input(benchmark):
    rows = benchmark.measure(layer(first=True), 2, OPTIONS, "cpu", half_a_millisecond)
    assert benchmark.BACKWARD_INPUT not in {row["pass"] for row in rows}


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("name", ["forward", "backward_input", "backward_weight"])
def test_a_wrong_result_is_not_timed(benchmark, monkeypatch, name):
    right = getattr(benchmark.kernels, name)

    def wrong(*arguments):
        result = right(*arguments)
        (result if name != "backward_weight" else result[0])[0] += 0.01
        return result

    monkeypatch.setattr(benchmark.kernels, name, wrong)
    with pytest.raises(SystemExit, match=r"wrong result: error 0\.\d+ > "):
        benchmark.measure(layer(), 5, OPTIONS, "cpu", half_a_millisecond)


def test_without_a_gpu_it_says_why_and_measures_nothing():
    missing = load_core().cuda_unavailable()
    if not missing:
        pytest.skip("a GPU is here")
    command = [sys.executable, "benchmarks/kernels.py", "--device", "cuda"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == f"--device cuda: {missing}\n"
    assert result.stdout == ""
