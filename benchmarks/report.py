"""How long `sparsefit report` takes on many simulated sweeps.

    python benchmarks/report.py [--sweeps 20] [--trials 100] [--keep FOLDER]

Each sweep is a table of trials: 14 batch sizes, 4 sparsities, two metaparameters; 5,600 trials by default.
K* = c1/B + c2 with 5 % noise is reached near the best learning rate only; others need longer, miss the
goal or diverge. The time is that of the whole command, from the tables to the page.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from click.testing import CliRunner

from sparsefit.cli import group

SPARSITIES = (0.0, 0.5, 0.7, 0.9)
SIZES = 2.0 ** np.arange(1, 15)
MAX_STEPS, EVAL_INTERVAL = 40_000, 16


def simulate(seed: int, trials: int) -> pd.DataFrame:
    """Return the trials of one sweep."""
    rng = np.random.default_rng(seed)
    rate, slowness = 10 ** rng.uniform(-4, 0, trials), 10 ** rng.uniform(-4, -1, trials)
    frames = []
    for sparsity in SPARSITIES:
        for size in SIZES:
            best = (20_000 / size + 60) * (1 + 2 * sparsity**2) * np.exp(0.05 * rng.standard_normal())
            off = np.log10(rate / slowness) - 0.5 - 0.2 * np.log2(size) / 14
            need = best * 10 ** (off**2) * (1 + rng.random(trials))
            steps = np.ceil(need / EVAL_INTERVAL) * EVAL_INTERVAL
            status = np.where(off > 1.8, "diverged", np.where(steps > MAX_STEPS, "not_reached", "reached"))
            made = np.where(status == "reached", steps, np.where(status == "diverged", 20, MAX_STEPS))
            frames.append(
                pd.DataFrame(
                    {
                        "workload": f"simulated-{seed}",
                        "optimizer": ("sgd", "momentum")[seed % 2],
                        "task": f"task {seed // 2}",
                        "sparsity": sparsity,
                        "batch_size": size,
                        "trial": np.arange(trials),
                        "status": status,
                        "steps": np.where(status == "reached", steps, np.nan),
                        "max_steps": MAX_STEPS,
                        "eval_interval": EVAL_INTERVAL,
                        "learning_rate": rate,
                        "momentum": 1 - slowness,
                        "samples": made * size,
                        "seconds": made * size / 1e4,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="leave the report in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = [Path(folder, f"sweep-{seed}.csv") for seed in range(options.sweeps)]
        for seed, path in enumerate(tables):
            simulate(seed, options.trials).to_csv(path, index=False)
        out = options.keep or Path(folder, "report")
        start = time.perf_counter()
        result = CliRunner().invoke(
            group, ["report", *map(str, tables), "-o", str(out)], catch_exceptions=False
        )
        seconds = time.perf_counter() - start
        size = (out / "index.html").stat().st_size / 2**20
        trials = options.sweeps * options.trials * len(SIZES) * len(SPARSITIES)
        print(result.stderr.strip().rsplit(": ", 1)[-1], f"of {trials:,} trials in {seconds:.1f} s,")
        print(f"page of {size:.1f} MiB")


if __name__ == "__main__":
    main()
