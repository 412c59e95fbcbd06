"""The CUDA sources compile for every architecture, and no kernel is larger than its occupancy allows."""

import re
from pathlib import Path

import pytest

from tests.cuda.ptxas import ARCHITECTURES, SOURCES, Declared, Usage, declared, problems, ptx, usages


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: Path(path).name)
def test_kernels_compile_without_warnings_or_spills_within_the_declared_occupancy(source):
    assert problems(usages(source), declared()) == []


def test_the_table_declares_the_kernels_that_exist_on_every_architecture():
    found = {(usage.kernel, usage.arch) for source in SOURCES for usage in usages(source)}
    assert found == {(kernel, arch) for kernel in declared() for arch in ARCHITECTURES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: Path(path).name)
def test_launch_bounds_are_those_of_the_table(source):
    table = declared()
    for kernel, text in ptx(source).items():
        row = table[kernel]
        assert f".maxntid {row.threads}" in text, kernel
        bound = re.search(r"\.minnctapersm (\d+)", text)  # absent where the compiler needs no push
        assert bound is None or int(bound.group(1)) == row.blocks_per_multiprocessor, kernel


def test_a_spill_fails():
    found = problems(usages("csrc/tests/spilling.cu"), {"spilling": Declared(512, 4)})
    assert len(found) == len(ARCHITECTURES)
    assert all(re.match(r"spilling on sm_\d+: \d+ bytes spilled", problem) for problem in found)


@pytest.mark.parametrize(
    ("registers", "shared", "problem"),
    [
        (72, 4096, "72 registers and 4096 bytes of shared memory leave room for 3 blocks"),
        (64, 60000, "64 registers and 60000 bytes of shared memory leave room for 2"),
    ],
)
def test_a_kernel_that_outgrows_its_occupancy_fails(registers, shared, problem):
    table = {"kernel<8>": Declared(256, 4)}
    assert problems([Usage("kernel<8>", "80", 64, 4096, 0, 0)], table) == []
    (found,) = problems([Usage("kernel<8>", "80", registers, shared, 0, 0)], table)
    assert problem in found


def test_a_kernel_outside_the_table_fails():
    (found,) = problems([Usage("fresh", "90", 32, 0, 0, 0)], {})
    assert found == "fresh on sm_90: not in csrc/cuda/occupancy.csv"
