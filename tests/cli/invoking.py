"""Commands as a user gives them, for the tests of several."""

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
