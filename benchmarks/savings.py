"""What each device of a sweep saves, by switching it off on one study of W1.

    python benchmarks/savings.py --json benchmarks/results/savings.json [--data-dir FOLDER]

Each row is a sweep in a process of its own, one trial at a time on one thread. Seconds are processor time, so
that the machine need not be idle. Goal and steps are those of a study of minutes: with W1's own 40,000 steps
caps save far more.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from timing import provenance, write_json

STUDIES = {
    "a study": "W1 at sparsity 0.9, B = 64, with a goal of 0.04 and at most 2,560 steps: 5 trials",
    "large batches": "W1 at sparsity 0.9, B = 2,048: 1 trial of at most 64 steps",
}
SWITCHES = {
    "a study": ("", "sparse kernels", "goal checks that stop early", "caps and rounds", "micro-batches"),
    "large batches": ("", "micro-batches"),
}
"""What is switched off: one thing at a time, nothing first."""


def measure(study: str, without: str, data_dir: Path | None, masks: Path) -> dict[str, float | str]:
    """Run one sweep in this process and return what it took."""
    from torch import Tensor, nn

    from sparsefit.experiment import workload
    from sparsefit.experiment.engine import InProcess
    from sparsefit.experiment.network import Network
    from sparsefit.experiment.runner import TrialRunner
    from sparsefit.experiment.store import Store
    from sparsefit.experiment.study import Definition
    from sparsefit.experiment.sweep import run

    size, trials, steps = (64, 5, 2560) if study == "a study" else (2048, 1, 64)

    class WholeBatches(TrialRunner):
        """Runs a batch at once."""

        def network(self, seed: int, sparsity: float) -> tuple[Network, dict[nn.Parameter, Tensor]]:
            made, rest = super().network(seed, sparsity)
            made.micro_batch = size
            return made, rest

    definition = Definition(
        dataclasses.replace(workload.load("w1"), goal_error=0.04, max_steps=steps),
        (size,),
        (0.9,),
        trials,
        cap=without != "caps and rounds",
        curves=without == "goal checks that stop early",
        backend="dense" if without == "sparse kernels" else "sparse",
    )
    runner = (WholeBatches if without == "micro-batches" else TrialRunner)(definition, data_dir, masks)
    for trial in range(trials):
        runner.network(trial, 0.9)  # masks are made once a sweep, and no device touches them
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.create(Path(folder) / "sweep.db", definition) as store,
    ):
        store.begin_session({})
        run(store, InProcess(), runner, Silent())
        rows = store.rows()
    best = min((row.run.end.step for row in rows if row.run.end.status == "reached"), default=0)
    return {
        "study": study,
        "without": without,
        "seconds": sum(row.total_seconds for row in rows),
        "check_seconds": sum(row.run.check_seconds for row in rows),
        "samples": sum(row.run.samples for row in rows),
        "evaluated": sum(row.run.evaluated for row in rows),
        "steps_to_result": best,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class Silent:
    """A report that says nothing."""

    def begin(self, schedule: object) -> None:
        """See `sweep.Report`."""

    def ended(self, spec: object, run: object, seconds: float) -> None:
        """See `sweep.Report`."""

    def failed(self, spec: object, reason: str, last: bool) -> None:
        """See `sweep.Report`."""


@click.command(help=__doc__)
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--masks", type=click.Path(path_type=Path), default=Path("build/savings.masks"))
@click.option("--row", nargs=2, hidden=True)
def main(path: Path | None, data_dir: Path | None, masks: Path, row: tuple[str, str] | None) -> None:
    """Run every row in a process of its own."""
    if row is not None:
        print(json.dumps(measure(*row, data_dir, masks)))
        return
    masks.mkdir(parents=True, exist_ok=True)
    rows = []
    for study, switches in SWITCHES.items():
        for without in switches:
            command = [sys.executable, __file__, "--row", study, without, "--masks", str(masks)]
            command += ["--data-dir", str(data_dir)] if data_dir else []
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout))
            print({name: value for name, value in rows[-1].items() if value != ""}, flush=True)
    if path is not None:
        content = {
            **provenance(),
            "command": "python benchmarks/savings.py",
            "studies": STUDIES,
            "rows": rows,
        }
        write_json(path, content)


if __name__ == "__main__":
    main()
