"""A plugin of pytest, for a process of its own: the emulator is in the place of a GPU in every test."""

import pytest

from tests.cuda.emulated import emulate


def pytest_configure(config):
    """Put it there before tests are collected."""
    emulate(pytest.MonkeyPatch())
