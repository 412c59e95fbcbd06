"""Errors that sparsefit raises on purpose: each says what was got, what is allowed and what to do."""

from __future__ import annotations


class SparsefitError(Exception):
    """Base of every error that sparsefit raises on purpose; commands print it and exit with code 1."""


class InputError(SparsefitError, ValueError):
    """A file, table, option or argument cannot be used as it is."""


class MissingCoreError(SparsefitError, ImportError):
    """The compiled core ``sparsefit._core`` is absent or was built for something else."""


class CudaError(SparsefitError, RuntimeError):
    """A CUDA call failed, or this build has no CUDA; the message names the kernel or the call."""


class MissingDependencyError(SparsefitError, ImportError):
    """A feature needs an optional package that is not installed.

    Parameters
    ----------
    feature : str
        What was asked for, as the user names it.
    package : str
        What to install, as pip names it.
    """

    def __init__(self, feature: str, package: str) -> None:
        super().__init__(f"{feature} needs a package that is not installed: pip install '{package}'")
