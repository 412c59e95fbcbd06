"""How often the intervals of c1, c2 and c1/c2 hold the truth, on simulated curves.

    python benchmarks/coverage.py [--curves 4000] [--seed 0] [--json coverage.json]

Each scenario draws curves K = (c1/B + c2) e^(noise), puts them on the evaluation grid or censors them as
stated, fits them as ``sparsefit fit`` does, and counts. The one-sided scenarios lie on one side of c1/c2 by a
factor 8: there the share of reports that give a one-sided limit is counted, and how often that limit holds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from sparsefit.fitting.intervals import Scan, scan
from sparsefit.fitting.likelihood import Rows


@dataclass(frozen=True)
class Scenario:
    """Truth and measurement; ``censored`` studies are those of the smallest batch sizes."""

    name: str
    noise: float
    powers: tuple[int, int] = (1, 14)
    c1: float = 20_000.0
    c2: float = 150.0
    eval_interval: int = 0
    censored: int = 0


SCENARIOS = (
    Scenario("5 % noise", 0.05),
    Scenario("2 % noise", 0.02),
    Scenario("10 % noise", 0.10),
    Scenario("5 % noise, evaluation every 16 steps", 0.05, eval_interval=16),
    Scenario("5 % noise, the two smallest batch sizes right-censored", 0.05, censored=2),
    Scenario("both", 0.05, eval_interval=16, censored=2),
)
CHUNK = 50
ONE_SIDED = (
    Scenario("largest B = c1/c2 / 8", 0.05, powers=(1, 8), c1=2.0**11 * 150),
    Scenario("smallest B = 8 c1/c2", 0.05, powers=(6, 14), c1=2.0**3 * 150),
)


def simulate(scenario: Scenario, curves: int, seed: int) -> Rows:
    """Return the rows of many curves of one scenario."""
    rng = np.random.default_rng(seed)
    size = 2.0 ** np.arange(scenario.powers[0], scenario.powers[1] + 1)
    truth = scenario.c1 / size + scenario.c2
    steps = truth * np.exp(scenario.noise * rng.standard_normal((curves, len(size))))
    upper, lower = steps, steps
    if d := scenario.eval_interval:
        upper = np.ceil(steps / d) * d
        lower = upper - d
    if (
        scenario.censored
    ):  # the budget ends between the last censored study and the first that reaches the goal
        budget = np.sqrt(truth[scenario.censored - 1] * truth[scenario.censored])
        late = upper > budget
        upper, lower = np.where(late, np.inf, upper), np.where(late, budget, lower)
    with np.errstate(divide="ignore"):
        x = np.broadcast_to(np.log(size), steps.shape)
        return Rows(x, np.log(lower), np.log(upper), np.ones_like(steps), np.zeros(curves))


def fit(scenario: Scenario, curves: int, seed: int) -> Scan:
    """Return fits and 95 % intervals, a block of curves at a time."""
    rows = simulate(scenario, curves, seed)
    parts = [
        scan(Rows(*(a[start : start + CHUNK] for a in vars(rows).values())), 0.95)
        for start in range(0, curves, CHUNK)
    ]
    return Scan(*(np.concatenate([getattr(part, name) for part in parts]) for name in Scan.__annotations__))


def share(inside: np.ndarray) -> float:
    """Return a share in percent."""
    return 100 * float(np.mean(inside))


def cover(scenario: Scenario, curves: int, seed: int) -> dict[str, float | str]:
    """Return coverage of each interval and the bias of c2, in percent."""
    found = fit(scenario, curves, seed)
    truth = {"c1": np.log(scenario.c1), "c2": np.log(scenario.c2), "c1/c2": np.log(scenario.c1 / scenario.c2)}
    ends = {"c1": found.c1_range, "c2": found.level_range, "c1/c2": found.theta_range}
    result: dict[str, float | str] = {"scenario": scenario.name}
    for name, value in truth.items():
        result[name] = share((ends[name][:, 0] <= value) & (value <= ends[name][:, 1]))
    result["bias of c2"] = 100 * float(np.mean(np.exp(found.level - truth["c2"])) - 1)
    result["bias of c1"] = 100 * float(np.mean(np.exp(found.theta + found.level - truth["c1"])) - 1)
    return result


def limit(scenario: Scenario, curves: int, seed: int) -> dict[str, float | str]:
    """Return how often a one-sided limit of c1/c2 is reported, and how often it holds, in percent."""
    found = fit(scenario, curves, seed)
    first, last = (np.full(curves, np.log(2.0) * power) for power in scenario.powers)
    below, above = found.outside(first, last)
    truth = np.log(scenario.c1 / scenario.c2)
    right = above if truth > last[0] else below
    end = found.theta_range[:, 0] if truth > last[0] else found.theta_range[:, 1]
    holds = end <= truth if truth > last[0] else truth <= end
    one_sided = right & np.isfinite(end)
    return {
        "scenario": scenario.name,
        "reported": share(one_sided),
        "no limit at all": share(right & ~np.isfinite(end)),
        "holds": share(holds[one_sided]),
    }


def show(rows: list[dict[str, float | str]], title: str) -> None:
    """Print one table of percentages."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f"{value:.1f}" for value in row.values()))
    Console().print(table)


def main() -> None:
    """Run every scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--curves", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    two = [cover(scenario, options.curves, options.seed) for scenario in SCENARIOS]
    show(two, f"Coverage of 95 % intervals, {options.curves} curves a row, percent")
    one = [limit(scenario, options.curves, options.seed) for scenario in ONE_SIDED]
    show(one, "One-sided limits of c1/c2, percent")
    if options.json:
        scenarios = [asdict(scenario) for scenario in (*SCENARIOS, *ONE_SIDED)]
        settings = {"curves": options.curves, "seed": options.seed, "scenarios": scenarios}
        options.json.write_text(
            json.dumps({"settings": settings, "coverage": two, "limits": one}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
