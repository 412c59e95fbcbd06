"""Goal checks of real trials: their time beside that of training, their examples beside the floor.

    python benchmarks/goal_checks.py --data-dir DIR

To refuse a goal of 120 errors, 121 must be seen: that is the floor of one check.
"""

from __future__ import annotations

from pathlib import Path

import click
from timing import provenance, write_json

from sparsefit.experiment import workload
from sparsefit.experiment.records import Study, TrialSpec
from sparsefit.experiment.runner import TrialRunner
from sparsefit.experiment.study import Definition

CELLS = {"w1": (16, 64, 256), "w2": (16, 64, 256), "w3": (64, 256)}


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data sets are.")
@click.option("--sparsities", default="0,0.9", help="Comma-separated.")
@click.option("--trial", default=1, help="Which metaparameters.")
@click.option("--limit", default=640, help="Steps.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers here.")
def main(data_dir: Path | None, sparsities: str, trial: int, limit: int, json_file: Path | None) -> None:
    """Print one row a trial; times are processor times."""
    rows = []
    click.echo("| workload | sparsity | B | end | check time / training time | evaluated | floor | asked |")
    click.echo("|---|---|---|---|---|---|---|---|")
    for name, sizes in CELLS.items():
        chosen = workload.load(name)
        grid = tuple(float(text) for text in sparsities.split(","))
        runner = TrialRunner(Definition(chosen, sizes, grid, trial + 1), data_dir)
        n_validation = len(runner.validation[1])
        for sparsity in grid:
            for size in sizes:
                run = runner(TrialSpec(Study(sparsity, size), trial, limit))
                share = run.check_seconds / (run.seconds - run.check_seconds)
                click.echo(
                    f"| {name} | {sparsity:g} | {size} | {run.end.status} {run.end.step} | {share:.0%} "
                    f"| {run.evaluated:,} | {run.floor:,} | {run.checks * n_validation:,} |"
                )
                rows.append(
                    {
                        "workload": name,
                        "sparsity": sparsity,
                        "batch_size": size,
                        "status": run.end.status,
                        "steps": run.end.step,
                        "check_seconds": round(run.check_seconds, 3),
                        "training_seconds": round(run.seconds - run.check_seconds, 3),
                        "evaluated": run.evaluated,
                        "floor": run.floor,
                        "asked": run.checks * n_validation,
                    }
                )
    if json_file:
        write_json(json_file, {**provenance(), "trial": trial, "limit": limit, "rows": rows})


if __name__ == "__main__":
    main()
