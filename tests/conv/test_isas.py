"""The kernel tests again, in a process of their own for every instruction set but the one in use.

What torch does with the ops (``opcheck``) is the same for all of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparsefit.conv.kernels import load_core

TESTS = [
    "test_kernels.py",
    "test_backward_input_rows.py",
    "test_regressions.py",
    "test_determinism.py",
    "test_blocked.py",
    "test_small_batches.py",
    "test_nonfinite.py",
]


def test_kernels_are_right_with(isa):
    if isa == load_core().isa():
        pytest.skip(f"{isa} is in use: this very run tests it")
    here = Path(__file__).parent
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-k",
            "not opcheck",
            *(str(here / name) for name in TESTS),
        ],
        env={**os.environ, "SPARSEFIT_FORCE_ISA": isa},
        cwd=here.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"with {isa}:\n{result.stdout[-6000:]}{result.stderr[-2000:]}"


def test_an_unknown_isa_is_refused_with_the_usable_ones():
    result = subprocess.run(
        [sys.executable, "-c", "from sparsefit import _core; print(_core.isa())"],
        env={**os.environ, "SPARSEFIT_FORCE_ISA": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "sse9" in result.stderr
    assert "portable" in result.stderr
