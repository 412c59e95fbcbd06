"""What the linker made of the core: no code for a newer CPU outside the kernels of its instruction set.

Inline functions of shared headers are compiled once per instruction set under one name, and the linker keeps
any of them. The kept one must run on every CPU.
"""

import re
import shutil
import subprocess

import pytest

_core = pytest.importorskip("sparsefit._core", reason="needs the compiled core")


def functions_with_vector_code(path):
    """Return the demangled names of functions that hold AVX instructions, which alone begin with a v."""
    listing = subprocess.run(
        ["objdump", "-d", "-C", "--no-show-raw-insn", path], capture_output=True, text=True, check=True
    ).stdout
    found, function = set(), ""
    for line in listing.splitlines():
        if heading := re.fullmatch(r"[0-9a-f]+ <(.+)>:", line):
            function = heading[1]
        elif re.search(r"^\s*[0-9a-f]+:\t(v[a-z]|.*%[yz]mm)", line):
            found.add(function)
    return found


def test_code_for_newer_cpus_is_only_in_the_kernels_for_them():
    if shutil.which("objdump") is None or "avx2" not in _core.isas():
        pytest.skip("needs objdump and a core for x86-64")
    found = functions_with_vector_code(_core.__file__)
    assert any("avx512" in name for name in found), "the listing has names"
    assert {name for name in found if "avx2" not in name and "avx512" not in name} == set()
