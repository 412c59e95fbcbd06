"""How often the claims of ``sparsefit validate`` about the search come out right, on simulated searches.

    python benchmarks/validate_search.py [--searches 200] [--seed 0] [--json validate_search.json]

Each row simulates searches over learning rate η and momentum, whose trials are the same at 8 batch sizes
from 16 to 2^11, as `sparsefit sweep` runs them. What decides is η' = η/(1 - momentum): the best one grows as
a power of B, a trial needs more steps the farther η' is from it, and reaches the goal between a lowest and a
highest one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from validate import show

from sparsefit.fitting import claims_search
from sparsefit.fitting.claims_boundary import metaparameter_boundary
from sparsefit.fitting.columns import find_columns
from sparsefit.fitting.reading import as_text
from sparsefit.fitting.validation_records import Claim

SIZES = 2 ** np.arange(4, 12)
C1, C2 = 20_000.0, 150.0
RATES, MOMENTA = (-4.0, 1.0), (0.0, 3.0)
"""Ends of log10(η) and of -log10(1 - momentum)."""

DENSE, SPARSE = {"sparsity": 0.0}, {"sparsity": 0.9}


class Scenario(NamedTuple):
    """A truth, how many trials look for it, and the verdict that is right.

    ``grows`` is the power of B in the best η', which is 10^``best`` at B = 16; ``below`` and ``above`` are
    the decades around it that reach the goal, ``narrower`` is how many fewer there are above it in a sparse
    network, and ``flipped`` the share of trials that end the other way at random. ``luck`` is the standard
    deviation of the decades by which a trial of one network is off at all batch sizes.
    """

    name: str
    expected: str
    trials: int = 20
    grows: float = 0.0
    best: float = -1.0
    below: float = 1.0
    above: float = 1.0
    narrower: float = 0.0
    flipped: float = 0.0
    luck: float = 0.0


WIDE = 9.0
"""Decades that no trial leaves."""

SCENARIOS = {
    "metaparameter_boundary": (
        Scenario("one line, 20 trials", "holds", below=WIDE, above=0.0),
        Scenario("one line, 40 trials", "holds", 40, below=WIDE, above=0.0),
        Scenario("one line, 2 % the other way, 40 trials", "holds", 40, below=WIDE, above=0.0, flipped=0.02),
        Scenario("one line, 20 % the other way, 40 trials", "fails", 40, below=WIDE, above=0.0, flipped=0.2),
        Scenario("two lines a decade apart, 20 trials", "fails", below=0.5, above=0.5),
        Scenario("two lines a decade apart, 40 trials", "fails", 40, below=0.5, above=0.5),
        Scenario("at random, 40 trials", "fails", 40, below=WIDE, above=WIDE, flipped=0.5),
    ),
    "learning_rate_grows": (
        Scenario("as B^0.5, 20 trials", "holds", grows=0.5),
        Scenario("as B^0.5, 100 trials", "holds", 100, grows=0.5),
        Scenario("constant, 20 trials", "cannot tell"),
        Scenario("as B^-0.5, 20 trials", "fails", grows=-0.5, best=0.0),
    ),
    "learning_rate_inside": (
        Scenario("best η' = 1, 20 trials", "holds", best=0.0),
        Scenario("best η' = 1, 100 trials", "holds", 100, best=0.0),
        Scenario("best η' past the largest, 20 trials", "fails", best=4.5, below=WIDE),
    ),
    "learning_rate_range": (
        Scenario("a decade narrower, 20 trials", "holds", narrower=1.0, above=1.5, luck=0.3),
        Scenario("a decade narrower, 100 trials", "holds", 100, narrower=1.0, above=1.5, luck=0.3),
        Scenario("equal, 20 trials", "cannot tell", luck=0.3),
        Scenario("equal, 100 trials", "cannot tell", 100, luck=0.3),
    ),
}


def search(scenario: Scenario, rng: np.random.Generator) -> claims_search.Search:
    """Return one simulated search, dense and sparse."""
    rate = 10 ** rng.uniform(*RATES, scenario.trials)
    momentum = 1 - 10 ** -rng.uniform(*MOMENTA, scenario.trials)
    effective = np.log10(rate / (1 - momentum))
    tables = []
    for group in (DENSE, SPARSE):
        luck = scenario.luck * rng.standard_normal(scenario.trials)
        above = scenario.above - (scenario.narrower if group is SPARSE else 0.0)
        for size in SIZES:
            away = effective + luck - scenario.best - scenario.grows * np.log10(size / SIZES[0])
            reached = (away > -scenario.below) & (away < above)
            reached ^= rng.random(scenario.trials) < scenario.flipped
            noise = np.exp(0.1 * rng.standard_normal(scenario.trials))
            steps = (C1 / size + C2) * 10 ** (0.5 * np.abs(away)) * noise
            columns = {
                "batch_size": size,
                "trial": np.arange(scenario.trials),
                "status": np.where(reached, "reached", "not_reached"),
                "steps": np.where(reached, steps, np.nan),
                "learning_rate": rate,
                "momentum": momentum,
            }
            tables.append(pd.DataFrame({**group, **columns}))
    cells = as_text(pd.concat(tables, ignore_index=True))
    return claims_search.Search(cells, find_columns(cells, by=["sparsity"]))


def judge(name: str, found: claims_search.Search) -> Claim:
    """Return the claim about one search."""
    ratio: Any = SimpleNamespace(group=SPARSE, reference=DENSE)
    return {
        "metaparameter_boundary": partial(metaparameter_boundary, found, DENSE),
        "learning_rate_grows": partial(claims_search.learning_rate_grows, found, DENSE, 0.95),
        "learning_rate_inside": partial(claims_search.learning_rate_inside, found, DENSE),
        "learning_rate_range": partial(claims_search.learning_rate_range, found, ratio, 0.95),
    }[name]()


def count(name: str, scenario: Scenario, searches: int, seed: int) -> dict[str, float | str]:
    """Return the shares of the verdicts over simulated searches, in percent."""
    rng = np.random.default_rng(seed)
    found = Counter(judge(name, search(scenario, rng)).verdict for _ in range(searches))
    shares = {verdict: 100 * found[verdict] / searches for verdict in ("holds", "fails", "cannot tell")}
    return {"claim": name, "truth": scenario.name, "right": scenario.expected, **shares}


def main() -> None:
    """Run every scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [
        count(name, scenario, options.searches, options.seed)
        for name, scenarios in SCENARIOS.items()
        for scenario in scenarios
    ]
    settings = {"searches": options.searches, "seed": options.seed}
    show(rows, f"Verdicts over {options.searches} searches a row, percent", settings, options.json)


if __name__ == "__main__":
    main()
