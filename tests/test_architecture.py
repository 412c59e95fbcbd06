"""The map in docs/architecture.md, held against the imports that the source really has."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sparsefit"
STATIONS = ("conv", "experiment", "fitting", "report")
MAY_IMPORT = {"conv": set(), "experiment": {"conv"}, "fitting": set(), "report": {"fitting"}}
SOURCES = sorted(PACKAGE.rglob("*.py"))
CODE = sorted(
    path
    for folder in ("sparsefit", "csrc", "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".pyi", ".h", ".cpp", ".cu", ".cuh"}
)


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, also inside functions and under TYPE_CHECKING."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*up, node.module] if node.module else up)
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def station(module: str) -> str | None:
    """Return the folder of the package that a module belongs to, if it is one of the four."""
    parts = module.split(".")
    return parts[1] if parts[0] == "sparsefit" and len(parts) > 1 and parts[1] in STATIONS else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_left_only(path):
    here = path.relative_to(PACKAGE).parts[0]
    if here not in STATIONS:
        return
    used = {station(module) for module in imports(path)} - {None, here}
    assert used <= MAY_IMPORT[here], f"{here} may import {MAY_IMPORT[here] or 'no station'}, imports {used}"


@pytest.mark.parametrize("name", ["fitting", "report"])
def test_fitting_half_imports_no_torch_and_no_core(name):
    for path in (PACKAGE / name).rglob("*.py"):
        heavy = {m for m in imports(path) if m.split(".")[0] == "torch" or m.startswith("sparsefit._core")}
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}"


def test_fitting_and_report_never_touch_the_core():
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path in SOURCES
        for m in imports(path)
        if m == "sparsefit._core"
    }
    assert users <= {"conv", "experiment", "cli"}


def test_commands_import_stations_inside_functions():
    for path in (PACKAGE / "cli").glob("*.py"):
        top_level = {
            alias
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
        }
        slow = {
            m
            for m in top_level
            if station(m) or m.split(".")[0] in {"torch", "scipy", "pandas", "matplotlib"}
        }
        assert not slow, f"{path.name} imports {slow} before its command is used"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{lines} lines: split it"


def test_no_file_is_named_for_nothing():
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [path for path in CODE if path.stem.lower() in vague]
