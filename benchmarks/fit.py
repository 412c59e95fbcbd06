"""How fast a fit is: beside a loop of lmfit over 1,000 curves, and the command beside its own imports.

    python benchmarks/fit.py [--curves 1000] [--rounds 3] [--json fit.json]

Both sides fit the same 14-point curves with 5 % noise and give 95 % intervals of log c1 and log c2;
results are compared first. lmfit gets the truth to start from. Ratios come from one run, in turns.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmfit
import numpy as np
from rich.console import Console
from rich.table import Table
from timing import interleave, provenance, write_json

from sparsefit.fitting.curves import log_steps
from sparsefit.fitting.intervals import Scan, scan
from sparsefit.fitting.likelihood import Rows

C1, C2, NOISE, CONFIDENCE = 20_000.0, 150.0, 0.05, 0.95
LOG_B = np.log(2.0) * np.arange(1, 15)
TOLERANCE = 2e-3
"""Of the ends of an interval: lmfit bisects until the probability, not the end, is right to 1e-3."""


def simulate(curves: int) -> np.ndarray:
    """Return log K of each curve, shape (C, 14)."""
    rng = np.random.default_rng(0)
    return log_steps(LOG_B, np.log(C1), np.log(C2)) + NOISE * rng.standard_normal((curves, len(LOG_B)))


def fit_here(log_k: np.ndarray) -> Scan:
    """Fit all curves at once."""
    x = np.broadcast_to(LOG_B, log_k.shape)
    return scan(Rows(x, log_k, log_k, np.ones_like(log_k), np.zeros(len(log_k))), CONFIDENCE)


def fit_lmfit(log_k: np.ndarray) -> np.ndarray:
    """Return (low, value, high) of log c1 and log c2 of each curve by lmfit, NaN where it raises."""
    ends = np.full((len(log_k), 2, 3), np.nan)
    for row, y in enumerate(log_k):
        parameters = lmfit.Parameters()
        parameters.add("log_c1", value=np.log(C1))
        parameters.add("log_c2", value=np.log(C2))
        solver = lmfit.Minimizer(
            lambda p, y=y: y - log_steps(LOG_B, p["log_c1"].value, p["log_c2"].value), parameters
        )
        result = solver.minimize()
        try:
            found = lmfit.conf_interval(solver, result, sigmas=[CONFIDENCE])
        except (lmfit.MinimizerException, ValueError):
            continue
        ends[row] = [[end for _, end in found[name]] for name in ("log_c1", "log_c2")]
    return ends


def check(log_k: np.ndarray) -> dict[str, float]:
    """Return the largest differences of values and of ends, after comparing them with the tolerance."""
    here, there = fit_here(log_k), fit_lmfit(log_k)
    value = np.stack([here.theta + here.level, here.level], axis=1)
    both = np.isfinite(there[:, :, 0])
    off = np.abs(there[:, :, 1] - value)[both].max()
    apart = max(
        np.abs(there[:, 0, [0, 2]] - here.c1_range)[both[:, 0]].max(),
        np.abs(there[:, 1, [0, 2]] - here.level_range)[both[:, 1]].max(),
    )
    if off > 1e-4 or apart > TOLERANCE:
        raise SystemExit(f"results differ from lmfit's: values by {off:.2g}, ends by {apart:.2g} in log")
    return {"values": float(off), "ends": float(apart), "lmfit_failures": int((~both).any(axis=1).sum())}


def start(*command: str) -> Callable[[], object]:
    """Return a call that runs Python once in a new process."""
    return lambda: subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--curves", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # lmfit warns of slow convergence
    log_k = simulate(options.curves)
    difference = check(log_k)
    curves = interleave(
        {"sparsefit": lambda: fit_here(log_k), "lmfit": lambda: fit_lmfit(log_k)},
        rounds=options.rounds,
        budget_seconds=600,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.csv"
        points = zip(np.exp(LOG_B), np.exp(log_k[0]), strict=True)
        path.write_text("batch_size,steps\n" + "".join(f"{b:.0f},{k:.6g}\n" for b, k in points))
        command = interleave(
            {
                "sparsefit": start("-m", "sparsefit", "fit", str(path)),
                "imports": start("-c", "import pandas, lmfit"),
            },
            rounds=5 * options.rounds,
            budget_seconds=600,
        )
    table = Table("what", "sparsefit", "other", "ratio", "spread", title=f"Fits, {options.curves} curves")
    rows: list[dict[str, Any]] = []
    comparisons = (
        (f"{options.curves} curves with intervals, lmfit loop", curves, "lmfit"),
        ("sparsefit fit FILE, `import pandas, lmfit`", command, "imports"),
    )
    for name, timings, other in comparisons:
        mine, theirs = timings["sparsefit"], timings[other]
        faster = theirs.median / mine.median if other == "lmfit" else mine.median / theirs.median
        word = f"{faster:.0f} x faster" if other == "lmfit" else f"{faster:.2f} of its time"
        spread = f"{mine.spread:.0%}, {theirs.spread:.0%}"
        table.add_row(name, f"{mine.median:.3g} s", f"{theirs.median:.3g} s", word, spread)
        rows.append({"what": name, "sparsefit": vars(mine), "other": vars(theirs), "ratio": faster})
    Console().print(table)
    print(
        f"largest difference of log values {difference['values']:.1g}, of log ends {difference['ends']:.1g}; "
        f"curves where lmfit raised: {difference['lmfit_failures']}"
    )
    if options.json:
        versions = {"lmfit": importlib.metadata.version("lmfit")}
        write_json(options.json, {**provenance(), **versions, "difference": difference, "rows": rows})


if __name__ == "__main__":
    main()
