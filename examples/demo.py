"""The whole pipeline in minutes, on digits; then a fit of a long sweep. ``make demo`` runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path("demo")
SWEEP, TABLE, FIGURE = FOLDER / "digits.db", FOLDER / "results.csv", FOLDER / "fit.png"
REPORT = FOLDER / "report"
COLLECTED, COLLECTED_FIGURE = Path("results/w2/trials.csv"), FOLDER / "w2.png"


def sparsefit(*arguments: str | Path) -> None:
    """Print a command and run it."""
    words = [str(argument) for argument in arguments]
    print("$ sparsefit", *words, flush=True)
    subprocess.run([sys.executable, "-m", "sparsefit", *words], check=True)


def main() -> None:
    """Sweep (or go on with an interrupted sweep), collect, fit, report; fit W2 as it was collected."""
    FOLDER.mkdir(exist_ok=True)
    if SWEEP.exists():
        sparsefit("sweep", "--resume", SWEEP)
    else:
        grid = ("--batch-sizes", "4:256", "--sparsity", "0,0.9", "--trials", "8")
        sparsefit("sweep", "--workload", "digits", *grid, "--out", SWEEP)
    sparsefit("collect", SWEEP, "-o", TABLE)
    sparsefit("fit", TABLE, "--plot", FIGURE)
    sparsefit("report", SWEEP, "-o", REPORT)
    sparsefit("fit", COLLECTED, "--plot", COLLECTED_FIGURE)
    print(f"\ntable  {TABLE}\nfigure {FIGURE}, {COLLECTED_FIGURE}\nreport {REPORT / 'index.html'}")


if __name__ == "__main__":
    main()
