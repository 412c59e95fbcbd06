"""How often ``sparsefit validate`` comes out right, on simulated sweeps whose truth is known.

    python benchmarks/validate.py [--sweeps 500] [--seed 0] [--json validate.json]

Each row simulates sweeps of 14 batch sizes, 2 to 2^14, with multiplicative noise, judges them as the command
does, and counts. A sweep on an evaluation grid is rounded up to it. The sparse curve of a pair is the dense
one times a factor (one shift), or has another c1/c2 (not one shift). "Coarse" curves are like measured ones:
8 batch sizes, 16 to 2^11, and noise from 10 to 30 %.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from sparsefit.fitting.claims_curve import hyperbola, lack_of_fit, regimes
from sparsefit.fitting.claims_scaling import scaling_prediction
from sparsefit.fitting.claims_sparsity import critical_batch_size_sparse, shared_shape, sparse_over_dense
from sparsefit.fitting.claims_trend import universal_trend
from sparsefit.fitting.fit import fit_curve
from sparsefit.fitting.ratios import compare_to_dense
from sparsefit.fitting.validation_records import Claim

SIZE = 2.0 ** np.arange(1, 15)
C1, C2 = 20_000.0, 150.0

Truth = Callable[[np.ndarray], np.ndarray]


def knee(p: float, c1: float = C1, c2: float = C2) -> Truth:
    """Return ((c1/B)^p + c2^p)^(1/p); the curve itself at p = 1."""
    return lambda size: ((c1 / size) ** p + c2**p) ** (1 / p)


def power(a: float) -> Truth:
    """Return c1/B^a + c2."""
    return lambda size: C1 / size**a + C2


def family(count: int, p: float = 1.0) -> tuple[Truth, ...]:
    """Return curves of one sharpness whose c1/c2 goes down to 80 and c2 up."""
    return tuple(knee(p, C1 * s, C2 * s**1.5) for s in np.linspace(1, 2.8, count + 1)[1:])


class Scenario(NamedTuple):
    """A truth (and those of other curves), how it is measured, and the verdict that is right.

    Of a dense curve with `few` rows every third batch size is measured, once.
    """

    name: str
    dense: Truth
    expected: str
    noise: float = 0.03
    eval_interval: float | None = None
    replicates: int = 1
    sparse: Truth | None = None
    others: tuple[Truth, ...] = ()
    coarse: bool = False
    few: bool = False


SCENARIOS = {
    "hyperbola": (
        Scenario("c1/B + c2, 3 % noise", knee(1), "holds"),
        Scenario("c1/B + c2, 5 % noise", knee(1), "holds", noise=0.05),
        Scenario("c1/B + c2, 3 % noise, evaluation every 16 steps", knee(1), "holds", eval_interval=16),
        Scenario("smooth knee p = 0.6, 3 % noise", knee(0.6), "fails"),
        Scenario("smooth knee p = 0.6, 3 %, evaluation every 16", knee(0.6), "fails", eval_interval=16),
        Scenario("c1/B^0.8 + c2, 3 % noise", power(0.8), "fails"),
        Scenario("c1/B^0.8 + c2, 3 %, evaluation every 16", power(0.8), "fails", eval_interval=16),
        Scenario("coarse, c1/B + c2", knee(1), "holds", coarse=True),
        Scenario("coarse, max(c1/B, c2)", knee(50), "fails", coarse=True),
        Scenario("coarse, 8,000/B^0.5", lambda size: 8_000 / size**0.5, "fails", coarse=True),
    ),
    "universal_trend": (
        Scenario("8 curves c1/B + c2", knee(1), "holds", others=family(7)),
        Scenario("2 curves c1/B + c2, every 16", knee(1), "holds", eval_interval=16, others=family(1)),
        Scenario("8 curves, smooth knee p = 0.6", knee(0.6), "fails", others=family(7, 0.6)),
        Scenario("8 curves, one with p = 0.6", knee(0.6), "fails", others=family(7)),
        Scenario("2 coarse curves c1/B + c2", knee(1), "holds", others=family(1), coarse=True),
        Scenario("8 coarse curves c1/B + c2", knee(1), "holds", others=family(7), coarse=True),
        Scenario("8 coarse curves, p = 0.6", knee(0.6), "fails", others=family(7, 0.6), coarse=True),
        Scenario("8 coarse curves, p = 0.3", knee(0.3), "fails", others=family(7, 0.3), coarse=True),
    ),
    "lack_of_fit": (
        Scenario("c1/B + c2, 3 replicates", knee(1), "holds", replicates=3),
        Scenario("c1/B + c2, 3 replicates, every 16", knee(1), "holds", replicates=3, eval_interval=16),
        Scenario("c1/B + c2, 3 replicates, 2 %, every 40", knee(1), "holds", 0.02, 40, replicates=3),
        Scenario("smooth knee p = 0.6, 3 replicates", knee(0.6), "fails", replicates=3),
        Scenario("smooth knee p = 0.6, 3, 2 %, every 40", knee(0.6), "fails", 0.02, 40, replicates=3),
        Scenario("c1/B^0.8 + c2, 3 replicates", power(0.8), "fails", replicates=3),
    ),
    "scaling_prediction": (
        Scenario("c1/B + c2", knee(1), "holds"),
        Scenario("c1/B + c2, every 16", knee(1), "holds", eval_interval=16),
        Scenario("c1/B + c2, 2 %, every 40", knee(1), "cannot tell", 0.02, 40),
        Scenario("smooth knee p = 0.6", knee(0.6), "fails"),
        Scenario("c1/B^0.8 + c2", power(0.8), "fails"),
    ),
    "regimes": (
        Scenario("c1/B + c2", knee(1), "holds"),
        Scenario("c1/B + c2, 2 %, every 40", knee(1), "holds", 0.02, 40),
        Scenario("c1/B^0.6 + c2", power(0.6), "fails"),
    ),
    "shared_shape": (
        Scenario("sparse = 2 x dense", knee(1), "holds", sparse=knee(1, 2 * C1, 2 * C2)),
        Scenario("sparse = 2 x dense, 5 % noise", knee(1), "holds", 0.05, sparse=knee(1, 2 * C1, 2 * C2)),
        Scenario(
            "sparse = 2 x dense, 42 rows and 5",
            knee(1),
            "holds",
            sparse=knee(1, 2 * C1, 2 * C2),
            replicates=3,
            few=True,
        ),
        Scenario("c1 x 3, c2 x 2: c1/c2 x 1.5", knee(1), "fails", sparse=knee(1, 3 * C1, 2 * C2)),
        Scenario("c1 x 2, c2 x 3: c1/c2 x 0.67", knee(1), "fails", sparse=knee(1, 2 * C1, 3 * C2)),
        Scenario("c1 x 2.4, c2 x 2: c1/c2 x 1.2", knee(1), "fails", sparse=knee(1, 2.4 * C1, 2 * C2)),
    ),
    "sparse_over_dense": (
        Scenario("ratio 2 at each B", knee(1), "holds", sparse=knee(1, 2 * C1, 2 * C2)),
        Scenario("ratio 1.6, 1 %, every 40", knee(1), "holds", 0.01, 40, sparse=knee(1, 1.6 * C1, 1.6 * C2)),
        Scenario("ratio from 6 to 2", knee(1), "fails", sparse=knee(1, 6 * C1, 2 * C2)),
    ),
    "critical_batch_size_sparse": (
        Scenario("equal c1/c2", knee(1), "holds", sparse=knee(1, 2 * C1, 2 * C2)),
        Scenario("c1/c2 x 0.67", knee(1), "fails", sparse=knee(1, 2 * C1, 3 * C2)),
    ),
}


def measure(truth: Truth, scenario: Scenario, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return batch sizes and steps of one simulated sweep."""
    size = np.repeat(SIZE[3:11] if scenario.coarse else SIZE, scenario.replicates)
    if scenario.few and truth is scenario.dense:
        size = SIZE[::3]
    noise = np.exp(rng.uniform(*np.log([0.1, 0.3]))) if scenario.coarse else scenario.noise
    steps = truth(size) * np.exp(noise * rng.standard_normal(len(size)))
    d = scenario.eval_interval
    return size, steps if d is None else np.ceil(steps / d) * d


def judge(claim: str, scenario: Scenario, rng: np.random.Generator) -> Claim:
    """Return the claim about one simulated sweep."""
    truths = {0.0: scenario.dense} | ({} if scenario.sparse is None else {0.9: scenario.sparse})
    groups = [({"sparsity": sparsity}, truth) for sparsity, truth in truths.items()]
    groups += [({"curve": number}, truth) for number, truth in enumerate(scenario.others)]
    fits = [
        fit_curve(*measure(truth, scenario, rng), eval_interval=scenario.eval_interval, group=group)
        for group, truth in groups
    ]
    ratios = compare_to_dense(fits)
    if claim == "universal_trend":
        return universal_trend(fits, fits[0].confidence)[0]
    if claim == "sparse_over_dense":
        return sparse_over_dense(ratios[0], fits)
    alone = {
        "hyperbola": hyperbola,
        "lack_of_fit": lack_of_fit,
        "scaling_prediction": scaling_prediction,
        "regimes": regimes,
    }
    if claim in alone:
        return alone[claim](fits[0])
    pair = {"shared_shape": shared_shape, "critical_batch_size_sparse": critical_batch_size_sparse}
    return pair[claim](ratios[0])


def count(claim: str, scenario: Scenario, sweeps: int, seed: int) -> dict[str, float | str]:
    """Return the shares of the verdicts over simulated sweeps, in percent."""
    rng = np.random.default_rng(seed)
    found = Counter(judge(claim, scenario, rng).verdict for _ in range(sweeps))
    shares = {verdict: 100 * found[verdict] / sweeps for verdict in ("holds", "fails", "cannot tell")}
    return {"claim": claim, "truth": scenario.name, "right": scenario.expected, **shares}


def show(
    rows: list[dict[str, float | str]], title: str, settings: dict[str, float], json_file: Path | None
) -> None:
    """Print verdicts as a table and write them with their settings if a file is given."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f"{value:.1f}" for value in row.values()))
    Console().print(table)
    if json_file:
        json_file.write_text(json.dumps({"settings": settings, "verdicts": rows}, indent=1))


def main() -> None:
    """Run every scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [
        count(claim, scenario, options.sweeps, options.seed)
        for claim, scenarios in SCENARIOS.items()
        for scenario in scenarios
    ]
    settings = {"sweeps": options.sweeps, "seed": options.seed, "c1": C1, "c2": C2}
    show(rows, f"Verdicts over {options.sweeps} sweeps a row, percent", settings, options.json)


if __name__ == "__main__":
    main()
