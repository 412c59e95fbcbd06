"""Simulated tables with a known truth."""

import numpy as np
import pandas as pd

SIZE = 2.0 ** np.arange(1, 15)


def steps_table(*, seed=0, noise=0.03, replicates=1, **truths):
    """Rows of ``name -> (group, curve)`` with multiplicative noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for group, curve in truths.values():
        for replicate in range(replicates):
            steps = curve(SIZE) * np.exp(noise * rng.standard_normal(len(SIZE)))
            rows += [
                {**group, "batch_size": size, "replicate": replicate, "steps": step}
                for size, step in zip(SIZE, steps, strict=True)
            ]
    return pd.DataFrame(rows)


def hyperbola(c1=20_000.0, c2=150.0):
    return lambda size: c1 / size + c2


def knee(p, c1=20_000.0, c2=150.0):
    return lambda size: ((c1 / size) ** p + c2**p) ** (1 / p)


def trials_table(*, capped=False, narrow=0.5, edge=False):
    """Trials of a dense and a sparse group, 41 learning rates from 1e-4 to 1.

    The best learning rate is 1e-3 B^0.3 (or the largest tried), a trial reaches the goal within one decade of
    it, in the sparse group within ``narrow`` decades.
    """
    rates = np.logspace(-4, 0, 41)
    rows = []
    for sparsity in (0.0, 0.9):
        for size in SIZE[:8]:
            best = 1.0 if edge else 1e-3 * size**0.3
            least = (1 + sparsity) * (20_000 / size + 150)
            for trial, rate in enumerate(rates):
                away = abs(np.log10(rate / best))
                reached = away <= (narrow if sparsity else 1.0)
                rows.append(
                    {
                        "sparsity": sparsity,
                        "batch_size": size,
                        "trial": trial,
                        "status": "reached" if reached else "capped" if capped else "not_reached",
                        "steps": round(least * (1 + away)) if reached else "",
                        "max_steps": 40_000,
                        "learning_rate": rate,
                    }
                )
    return pd.DataFrame(rows)
