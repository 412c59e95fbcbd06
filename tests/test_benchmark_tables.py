"""Tables of the docs say what the benchmarks wrote to benchmarks/results."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def page(name):
    """Return a page with the times sign as programs write it."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8").replace("×", "x")


def results(name):
    """Return what a benchmark wrote."""
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", ["validate.json", "validate_search.json"])
def test_verdicts_of_claims(file):
    for row in results(file)["verdicts"]:
        shares = " | ".join(f"{row[verdict]:.1f}" for verdict in ("holds", "fails", "cannot tell"))
        assert f"| `{row['claim']}` | {row['truth']} | {row['right']} | {shares} |" in page("math.md")


def test_coverage_of_fits():
    names = ("c1", "c2", "c1/c2")
    for row in results("coverage.json")["coverage"]:
        shares = " | ".join(f"{row[name]:.1f}" for name in names)
        assert f"| {row['scenario']} | {shares} | {abs(row['bias of c2']):.1f} % |" in page("statistics.md")
    small, large = (f"{row['holds']:.1f}" for row in results("coverage.json")["limits"])
    assert f"{small} % (batch sizes too small) and {large} % (too large)" in page("statistics.md")


def test_coverage_of_gradient_noise():
    for row in results("decompose_coverage.json")["coverage"]:
        shares = " | ".join(f"{row[name]:.1%}" for name in ("relative_sd", "covered", "even_covered"))
        place = f"| {row['sparsity']:g} | {row['step']} | {row['examples']} | {row['bias']:+.2%}"
        assert f"{place} | {shares} |" in page("decomposition.md")


def test_accuracy_of_smoothness():
    errors = results("decompose_accuracy.json")["largest_relative_error"]
    single, double = (100 * errors[f"L (float{bits})"] for bits in (32, 64))
    assert f"{single:.2f} % of the full" in page("decomposition.md")
    assert f"{double:.4f} % in float64" in page("decomposition.md")
