"""What layers promise on the CPU holds on emulated CUDA kernels too: state, errors, determinism, regressions.

The CPU's own tests run again, in a process of its own whose layers take their tensors for CUDA tensors.
"""

import subprocess
import sys

from tests.cuda.compiling import ROOT

TESTS = ["layer", "errors", "determinism", "regressions", "fused"]
# Both call what only the CPU's half of the core has: its poolings, and a kernel without its layer.
LEFT_OUT = [
    "test_fused_operators_keep_the_rules_of_torch_library",
    "test_results_are_written_inside_their_own_memory_only",
]


def test_the_tests_of_layers_pass_on_emulated_kernels():
    files = [f"tests/conv/test_{name}.py" for name in TESTS]
    options = ["-q", "-p", "tests.cuda.everywhere", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "-k", f"not {' and not '.join(LEFT_OUT)}", *files]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr
