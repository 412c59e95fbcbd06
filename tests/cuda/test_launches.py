"""Grids, blocks and scratch memory computed on the host; offsets past 2^31 elements; launches that fail."""

import re
import subprocess

import pytest

from tests.cuda.compiling import CXX, EMULATED, compiled, emulated_sources, nvcc

CASES = [
    "grid_limits",
    "ceil_div",
    "launches_cover_all_work",
    "sizes_past_31_bits",
    "too_large_is_refused",
    "forward_far_out",
    "backward_input_far_out",
    "backward_weight_far_out",
    "strided_copy_far_out",
]


def run(case):
    """Run a case of the C++ program."""
    sources = ["csrc/tests/large_sizes.cpp", "csrc/packed.cpp", "-x", "c++", *emulated_sources()]
    program, _ = compiled([CXX, *EMULATED, "-O1", *sources], "large_sizes")
    return subprocess.run([program, case], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CASES)
def test_host_arithmetic_and_offsets(case):
    result = run(case)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_case_runs():
    assert sorted(run("").stdout.split()) == sorted(CASES)


def test_a_launch_that_fails_is_an_error_with_the_name_of_the_kernel():
    command = [nvcc(), "-std=c++17", "-Icsrc", "-arch=sm_90", "csrc/tests/failing_launch.cu"]
    program, _ = compiled(command, "failing_launch")
    result = subprocess.run([program], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"the_kernel: .+ \(cudaError\w+\)\n", result.stdout)
