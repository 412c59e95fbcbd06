"""Compiles C++ and CUDA sources for tests, once per state of the sources, whichever process asks first."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "tests"
CXX = os.environ.get("CXX", "g++")
EMULATED = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-g1", "-Icsrc"]
# Not all of -fsanitize=undefined: the checks that kernels can fail, in half the time to compile.
CHECKS = "address,bounds,alignment,signed-integer-overflow,shift,integer-divide-by-zero"
SANITIZED = [f"-fsanitize={CHECKS}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


def compiled(command: list[str], output: str) -> tuple[Path, str]:
    """Run ``command -o output`` in the root of the repository; return the path and what the compiler printed.

    The result is kept under build/tests/ until the command or a source changes, but for those of csrc/cpu, of
    which the CUDA half takes nothing.
    """
    key = hashlib.sha256("\0".join(command).encode())
    for path in sorted((ROOT / "csrc").rglob("*.*")):
        if path.parent.name != "cpu":
            key.update(path.name.encode() + path.read_bytes())
    folder = CACHE / f"{output}-{key.hexdigest()[:20]}"
    target, log = folder / output, folder / "log.txt"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{output}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            for old in CACHE.glob(f"{output}-*"):
                shutil.rmtree(old)
            folder.mkdir()
            result = subprocess.run(
                [*command, "-o", str(target)], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
            log.write_text(result.stdout + result.stderr)
    return target, log.read_text()


def nvcc() -> str:
    """Return the path of nvcc; without one, the test that asks is skipped."""
    found = shutil.which("nvcc", path=f"{home}/bin" if (home := os.environ.get("CUDA_HOME")) else None)
    if found is None:
        pytest.skip("no nvcc in CUDA_HOME/bin or on the PATH")
    return found


def emulated_sources() -> list[str]:
    """Return the CUDA sources that run on the CPU: all but the one that asks the driver for devices."""
    paths = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
    return [str(path.relative_to(ROOT)) for path in paths if path.name != "device.cu"]
