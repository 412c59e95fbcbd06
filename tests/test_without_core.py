"""What happens where the compiled core was not built."""

import subprocess
import sys

import pytest

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "sparsefit._core":
            raise ImportError("hidden by this test")
sys.meta_path.insert(0, Hidden())
"""


def python(code):
    """Run code in a process where the core cannot be imported."""
    return subprocess.run([sys.executable, "-c", HIDE + code], capture_output=True, text=True, check=False)


def test_sparsefit_conv_imports():
    result = python("import sparsefit.conv; print(sparsefit.conv.get_backend())")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "auto"


@pytest.mark.parametrize(
    "call",
    [
        "SparseConv2d.from_dense(torch.nn.Conv2d(2, 2, 3), torch.ones(2, 2, 3, 3, dtype=torch.bool))",
        "SparseLinear.from_dense(torch.nn.Linear(2, 2), torch.ones(2, 2, dtype=torch.bool))",
        "to_blocked(torch.zeros(2, 3))",
    ],
)
def test_first_use_says_what_is_missing_and_how_to_build_it(call):
    result = python(f"import torch\nfrom sparsefit.conv import *\n{call}")
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("sparsefit.errors.MissingCoreError")
    assert "pip install" in last
