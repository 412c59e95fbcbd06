"""Builds the compiled core ``sparsefit._core``: needs a C++17 compiler and pybind11, and no torch.

The compiler is GCC 9 or newer, or clang. Kernels for GPUs join the core where nvcc is found. Environment
variables:

- ``SPARSEFIT_CORE``: ``0`` leaves the core out; only sparse layers, and so sweeps, need it;
- ``SPARSEFIT_CUDA``: ``auto`` (if nvcc is found, the default), ``1`` (fail without nvcc) or ``0`` (never);
- ``SPARSEFIT_CUDA_ARCHS``: GPU architectures, ``80;90;100`` by default; the last one also as PTX, which later
  GPUs compile for themselves;
- ``SPARSEFIT_BUILD_JOBS``: compilers that run at the same time, all CPUs by default.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup
from setuptools.errors import CompileError, ExecError

JOBS = int(os.environ.get("SPARSEFIT_BUILD_JOBS") or os.cpu_count() or 1)
ARCHITECTURES = ("80", "90", "100")
OPENMP = [] if sys.platform == "darwin" else ["-fopenmp"]  # Apple's clang has none: plain threads then
WITHOUT = (
    "Or build without the kernels of the sparse layers, which fit, validate, plan and report do without: "
    "SPARSEFIT_CORE=0 pip install ."
)


def find_nvcc() -> str | None:
    """Return the path of nvcc if this build is to have kernels for GPUs."""
    choice = os.environ.get("SPARSEFIT_CUDA", "auto")
    if choice not in ("0", "1", "auto"):
        raise SystemExit(f"SPARSEFIT_CUDA={choice}: allowed are 0, 1 and auto")
    if choice == "0":
        return None
    home = os.environ.get("CUDA_HOME")
    nvcc = shutil.which("nvcc", path=f"{home}/bin" if home else None)
    if choice == "1" and nvcc is None:
        raise SystemExit("SPARSEFIT_CUDA=1, but there is no nvcc in CUDA_HOME/bin or on the PATH")
    return nvcc


def architectures(nvcc: str) -> list[str]:
    """Return the architectures to compile for: those asked for, or the default ones that nvcc knows."""
    asked = os.environ.get("SPARSEFIT_CUDA_ARCHS")
    if asked is None:
        listed = run([nvcc, "--list-gpu-code"]).stdout.split()
        found = [arch for arch in ARCHITECTURES if f"sm_{arch}" in listed]
        if not found:
            known = ", ".join(ARCHITECTURES)
            raise SystemExit(f"{nvcc} knows none of {known}: set SPARSEFIT_CUDA_ARCHS or SPARSEFIT_CUDA=0")
        return found
    found = asked.replace(",", ";").split(";")
    if not all(re.fullmatch(r"\d{2,3}[af]?", arch) for arch in found):
        raise SystemExit(f"SPARSEFIT_CUDA_ARCHS={asked}: write numbers with ; between, as in 80;90;100")
    if not found[-1].isdecimal():
        raise SystemExit(
            f"SPARSEFIT_CUDA_ARCHS={asked}: the last one is kept as PTX for later GPUs, which cannot take it "
            f"from {found[-1]}; put a plain number last"
        )
    return found


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run nvcc; say what to do when it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(
            f"{shlex.join(command)}\n{result.stdout}{result.stderr}\n"
            "nvcc failed. Set SPARSEFIT_CUDA=0 to build without kernels for GPUs, SPARSEFIT_CUDA_ARCHS to "
            "choose other architectures, or CUDA_HOME to use another nvcc."
        )
    return result


def runtime_folder(nvcc: str) -> str:
    """Return where the static CUDA runtime is; nvcc may be a wrapper script, so ask it what it would run."""
    dryrun = run([nvcc, "--dryrun", "-c", "any.cu"]).stderr
    folders = re.findall(r'-L"?([^"\s]+)', dryrun)
    folders += [str(Path(top) / "lib") for top in re.findall(r"^#\$ TOP=(.*)", dryrun, re.MULTILINE)]
    for folder in folders:
        if (Path(folder) / "libcudart_static.a").exists():
            return folder
    raise SystemExit(
        f"no libcudart_static.a in {', '.join(folders)}: install the CUDA runtime of this nvcc, or set "
        "SPARSEFIT_CUDA=0 to build without kernels for GPUs"
    )


class BuildCore(build_ext):
    """Compiles ``csrc/cuda/*.cu`` with nvcc and links them, with a static CUDA runtime, into the core."""

    def build_extension(self, ext: Pybind11Extension) -> None:
        """Build the core, with kernels for GPUs if there is an nvcc."""
        if sys.platform == "win32":
            raise SystemExit(f"The kernels are written for GCC and clang, on Linux. {WITHOUT}")
        nvcc = find_nvcc()
        if nvcc is not None:
            self.add_cuda(ext, nvcc)
        try:
            super().build_extension(ext)
        except (CompileError, ExecError, FileNotFoundError) as error:
            raise SystemExit(
                f"{error}\nThe C++ compiler failed, or there is none: install GCC 9 or newer (g++), or name "
                f"another in CXX. {WITHOUT}"
            ) from error

    def add_cuda(self, ext: Pybind11Extension, nvcc: str) -> None:
        """Compile the CUDA sources, and tell the other sources and the linker about them."""
        archs = architectures(nvcc)
        code = [f"sm_{arch}" for arch in archs] + [f"compute_{archs[-1]}"]
        flags = [f"-gencode=arch=compute_{re.sub('^sm_|^compute_', '', name)},code={name}" for name in code]
        flags += ["-std=c++17", "-O3", "-Icsrc", f'-DSPARSEFIT_CUDA_CODE="{";".join(code)}"']
        flags += ["-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra"]
        build = Path(self.build_temp) / "cuda"
        build.mkdir(parents=True, exist_ok=True)
        sources = sorted(Path("csrc/cuda").glob("*.cu"))
        objects = [build / f"{source.stem}.o" for source in sources]
        print(f"nvcc for {', '.join(code)}: {', '.join(source.name for source in sources)}", flush=True)
        commands = [
            [nvcc, *flags, "-c", str(source), "-o", str(target)]
            for source, target in zip(sources, objects, strict=True)
        ]
        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(run, commands))
        ext.sources.append("csrc/bindings_cuda.cpp")
        ext.define_macros.append(("SPARSEFIT_CUDA", "1"))
        ext.extra_objects += [str(path) for path in objects]
        ext.library_dirs.append(runtime_folder(nvcc))
        ext.libraries += ["cudart_static", "rt", "pthread", "dl"]
        # torch brings a CUDA runtime of its own, whose functions must not take the place of these.
        ext.extra_link_args.append("-Wl,--exclude-libs,ALL")


core = Pybind11Extension(
    "sparsefit._core",
    sorted(
        str(path)
        for folder in ("csrc", "csrc/cpu")
        for path in Path(folder).glob("*.cpp")
        if path.name != "bindings_cuda.cpp"
    ),
    depends=sorted(str(path) for path in Path("csrc").rglob("*") if path.suffix in {".h", ".cu", ".cuh"}),
    include_dirs=["csrc"],
    cxx_std=17,
    extra_compile_args=["-O3", *OPENMP, "-Wall", "-Wextra", "-Werror=odr"],
    extra_link_args=OPENMP,
)

ParallelCompile(default=JOBS).install()
with_core = os.environ.get("SPARSEFIT_CORE", "1")
if with_core not in ("0", "1"):
    raise SystemExit(f"SPARSEFIT_CORE={with_core}: allowed are 0 and 1")
setup(ext_modules=[core] if with_core == "1" else [], cmdclass={"build_ext": BuildCore})
