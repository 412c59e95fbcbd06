"""Sessions for maintainers: newest and lowest versions that the metadata allows, and the sanitizers."""

import nox

nox.options.sessions = ["maxtest"]


@nox.session
def maxtest(session: nox.Session) -> None:
    """Run the tests with the newest releases, pre-releases included."""
    session.install("--pre", "-e", ".[train,parquet,dev]")
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session(venv_backend="uv")
def mintest(session: nox.Session) -> None:
    """Run the tests of the fitting half with the lowest versions of its dependencies."""
    packages = ("-e", ".[parquet]", "pytest>=9.0", "hypothesis>=6.100")
    session.install("--resolution=lowest-direct", *packages, env={"SPARSEFIT_CORE": "0"})
    # What has been deprecated since these versions is not theirs to know.
    options = ["-W", "ignore::DeprecationWarning"]
    session.run(
        "pytest", *options, "tests/fitting", "tests/report", "tests/cli/test_fit.py", *session.posargs
    )


@nox.session(venv_backend="none")
def sanitize(session: nox.Session) -> None:
    """Run the core and its kernel tests under the address, undefined-behaviour and thread sanitizers."""
    session.run("make", "sanitize", external=True)
