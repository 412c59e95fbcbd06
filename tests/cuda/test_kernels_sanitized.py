"""The emulated kernels under Address- and UndefinedBehaviorSanitizer, on buffers of exactly their size."""

import subprocess

from tests.cuda.compiling import CXX, EMULATED, SANITIZED, compiled, emulated_sources


def test_kernels_match_the_reference_without_a_report_of_the_sanitizers():
    sources = ["csrc/tests/emulated_kernels.cpp", "csrc/packed.cpp", "-x", "c++", *emulated_sources()]
    program, _ = compiled([CXX, *EMULATED, "-O1", *SANITIZED, *sources], "emulated_kernels")
    first, count = "1", "20"
    result = subprocess.run([program, first, count], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
