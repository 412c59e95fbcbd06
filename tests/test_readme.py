"""Every command that README.md and the tutorial print with its output is run and compared."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from sparsefit.cli import group

ROOT = Path(__file__).parents[1]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples():
    """Yield (page, command, output) for every ``$ sparsefit ...`` inside a ``console`` block."""
    for page in ("README.md", "docs/tutorial.md"):
        path = ROOT / page
        for block in CONSOLE.findall(path.read_text()) if path.exists() else ():
            for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = entry.partition("\n")
                if command.startswith("sparsefit "):
                    yield pytest.param(command, output, id=f"{page}: {command}")


@pytest.mark.parametrize(("command", "output"), [*examples()])
def test_printed_output_is_what_the_command_prints(command, output, tmp_path, monkeypatch):
    for folder in ("examples", "results"):
        if (ROOT / folder).exists():
            (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    if "fit.json" in command:  # the pages make it first
        CliRunner().invoke(group, ["fit", "examples/simulated_sparsity.csv", "--json", "fit.json"])
    result = CliRunner().invoke(group, shlex.split(command)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert [line.rstrip() for line in result.output.strip().splitlines()] == [
        line.rstrip() for line in output.strip().splitlines()
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_python_of_the_pages_runs(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    blocks = PYTHON.findall((ROOT / page).read_text())
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})
