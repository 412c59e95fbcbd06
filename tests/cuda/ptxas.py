"""What ptxas says of each kernel, and how many blocks of it a multiprocessor can hold."""

import csv
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.cuda.compiling import ROOT, compiled, nvcc

SOURCES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc" / "cuda").glob("*.cu"))
ARCHITECTURES = ("80", "90", "100")
FLAGS = ["-std=c++17", "-O3", "-Icsrc", '-DSPARSEFIT_CUDA_CODE="sm_80"', "-Werror=all-warnings"]
HOST = ["-Xcompiler=-Wall,-Wextra,-Werror"]
ENTRY = re.compile(
    r"Compiling entry function '(?P<symbol>\w+)' for 'sm_(?P<arch>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
    r".*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


class Usage(NamedTuple):
    """Resources of one kernel on one architecture; bytes, and registers a thread."""

    kernel: str
    arch: str
    registers: int
    shared: int
    stack: int
    spilled: int


class Declared(NamedTuple):
    """A row of csrc/cuda/occupancy.csv."""

    threads: int
    blocks_per_multiprocessor: int


def declared() -> dict[str, Declared]:
    """Return the table, by kernel."""
    with (ROOT / "csrc" / "cuda" / "occupancy.csv").open(encoding="utf-8") as file:
        return {
            row.pop("kernel"): Declared(**{key: int(value) for key, value in row.items()})
            for row in csv.DictReader(file)
        }


def kernel_names(symbols: list[str]) -> list[str]:
    """Return mangled names as the source has them, template arguments included."""
    result = subprocess.run(["c++filt", *symbols], capture_output=True, text=True, check=True)
    return [re.search(r"(\w+(<[^()]*>)?)\(", line.replace("(anonymous namespace)", "")).group(1)
            for line in result.stdout.splitlines()]  # fmt: skip


def usages(source: str) -> list[Usage]:
    """Compile a source for every architecture, warnings as errors, and return what its kernels use."""
    codes = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ARCHITECTURES]
    command = [nvcc(), *FLAGS, *HOST, *codes, "-Xptxas=-v", "-c", source]
    _, log = compiled(command, f"{Path(source).stem}.o")
    found = list(ENTRY.finditer(log))
    assert len(found) == log.count("Compiling entry function"), f"ptxas prints something new:\n{log}"
    if not found:
        return []
    shared = [re.search(r"(\d+) bytes smem", entry["rest"]) for entry in found]
    return [
        Usage(
            name,
            entry["arch"],
            int(entry["registers"]),
            int(smem.group(1)) if smem else 0,
            int(entry["stack"]),
            int(entry["stores"]) + int(entry["loads"]),
        )
        for name, entry, smem in zip(kernel_names([e["symbol"] for e in found]), found, shared, strict=True)
    ]


def resident_blocks(usage: Usage, threads: int) -> int:
    """Return how many blocks of a kernel fit on a multiprocessor (CUDA programming guide, technical tables).

    65536 registers given to warps in units of 256; 2048 threads; 32 blocks; 164, 228 and 228 KiB of shared
    memory on sm_80, sm_90, sm_100, of which each block takes 1 KiB for the system.
    """
    warps = -(-threads // 32)
    registers_per_warp = -(-usage.registers * 32 // 256) * 256
    shared = usage.shared + 1024
    capacity = (164 if usage.arch == "80" else 228) * 1024
    return min(65536 // registers_per_warp // warps, 2048 // threads, 32, capacity // shared)


def problems(found: list[Usage], table: dict[str, Declared]) -> list[str]:
    """Return what is wrong with kernels, in words: undeclared, spilling, or too large for their occupancy."""
    wrong = []
    for usage in found:
        name = f"{usage.kernel} on sm_{usage.arch}"
        if usage.spilled or usage.stack:
            wrong.append(f"{name}: {usage.spilled} bytes spilled, {usage.stack} bytes of stack")
        if usage.kernel not in table:
            wrong.append(f"{name}: not in csrc/cuda/occupancy.csv")
            continue
        row = table[usage.kernel]
        blocks = resident_blocks(usage, row.threads)
        if blocks < row.blocks_per_multiprocessor:
            wrong.append(
                f"{name}: {usage.registers} registers and {usage.shared} bytes of shared memory leave room "
                f"for {blocks} blocks of {row.threads} threads; declared are {row.blocks_per_multiprocessor}"
            )
    return wrong


def ptx(source: str) -> dict[str, str]:
    """Return the PTX of each kernel of a source, for the newest architecture."""
    command = [nvcc(), *FLAGS, f"-arch=compute_{ARCHITECTURES[-1]}", "-ptx", source]
    path, _ = compiled(command, f"{Path(source).stem}.ptx")
    parts = re.split(r"^(?:\.visible )?\.entry (\w+)", path.read_text(), flags=re.MULTILINE)[1:]
    if not parts:
        return {}
    return dict(zip(kernel_names(parts[::2]), parts[1::2], strict=True))
