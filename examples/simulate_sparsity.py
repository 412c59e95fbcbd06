"""Make `simulated_sparsity.csv`: python examples/simulate_sparsity.py > examples/simulated_sparsity.csv"""

import sys

import numpy as np
import pandas as pd

EVAL_INTERVAL, MAX_STEPS, NOISE = 16, 40_000, 0.05
CURVES = {0.0: (90_000, 240), 0.5: (110_000, 290), 0.9: (190_000, 450)}
"""c1 and c2 of each sparsity."""

rng = np.random.default_rng(3)
size = 2 ** np.arange(1, 13)
tables = []
for sparsity, (c1, c2) in CURVES.items():
    exact = (c1 / size + c2) * np.exp(NOISE * rng.standard_normal(len(size)))
    steps = pd.Series(np.ceil(exact / EVAL_INTERVAL) * EVAL_INTERVAL).astype("Int64")
    reached = steps <= MAX_STEPS
    tables.append(
        pd.DataFrame(
            {
                "workload": "simulated",
                "sparsity": sparsity,
                "batch_size": size,
                "steps": steps.where(reached),
                "status": np.where(reached, "reached", "not_reached"),
                "max_steps": MAX_STEPS,
                "eval_interval": EVAL_INTERVAL,
            }
        )
    )
pd.concat(tables).to_csv(sys.stdout, index=False)
