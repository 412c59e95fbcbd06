"""Commands as a user gives them, for the tests of several."""

import sys

from click.testing import CliRunner

from sparsefit.cli import group
from sparsefit.errors import SparsefitError


def invoke(*arguments):
    return CliRunner().invoke(group, [str(argument) for argument in arguments], catch_exceptions=True)


def message(*arguments):
    """What an expected error says; anything but one is a failure of the test."""
    result = invoke(*arguments)
    assert isinstance(result.exception, SparsefitError), result
    return str(result.exception)


def write_module(path, text, monkeypatch):
    """Write a module that can be imported until the end of the test."""
    path.write_text(text)
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
