"""The fitting half runs where torch is not installed."""

import subprocess
import sys

BLOCK_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, NoTorch())
sys.argv = ["sparsefit", *sys.argv[1:]]
from sparsefit.cli import main
main()
"""


def run_without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH, *arguments], capture_output=True, text=True, check=False
    )


def test_fit_runs_without_torch():
    result = run_without_torch("fit", "examples/cbs_pretraining.csv")
    assert result.returncode == 0, result.stderr
    assert "c1" in result.stdout


def test_help_runs_without_torch():
    result = run_without_torch("--help")
    assert result.returncode == 0, result.stderr


def test_a_command_that_trains_says_what_to_install():
    result = run_without_torch("sweep", "--workload", "digits", "--trials", "1", "--out", "unused.db")
    assert result.returncode == 1
    assert "pip install 'sparsefit[train]'" in result.stderr
    assert "Traceback" not in result.stderr
