"""``sparsefit sweep``: run trials and keep them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sparsefit.cli.engines import engine_options, open_engine
from sparsefit.cli.given import given
from sparsefit.errors import InputError

DEFINING = ("workload", "batch_sizes", "sparsity", "no_cap", "full_curves", "backend", "out")
"""Options that a new sweep takes and a resumed one has already."""


@click.command(name="sweep", short_help="Collect trials: every batch size and sparsity of a workload.")
@click.option("--workload", help="Built-in name (w1 .. w4, digits ...) or the path of a study file (.toml).")
@click.option("--batch-sizes", help="16:2048 for the powers of 2, or 16,64,100.  [default: the workload's]")
@click.option("--sparsity", help="Shares of zeros, like 0,0.5,0.9.  [default: the workload's]")
@click.option("--trials", type=int, help="Metaparameter settings in each study.  [default: the workload's]")
@click.option("--out", type=click.Path(path_type=Path), help="New file for the sweep, like w2.db.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with the sweep in this file.")
@click.option("--no-cap", is_flag=True, help="Run every trial to its end: the paper's full protocol.")
@click.option("--full-curves", is_flag=True, help="Evaluate the whole validation set at every check.")
@click.option("--backend", help="sparse or dense layers.  [default: sparse]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data sets are.")
@engine_options
def command(
    workload: str | None,
    batch_sizes: str | None,
    sparsity: str | None,
    trials: int | None,
    out: Path | None,
    resume: Path | None,
    no_cap: bool,
    full_curves: bool,
    backend: str | None,
    data_dir: Path | None,
    engine: str,
    address: str | None,
    jobs: int | None,
) -> None:
    """Train every trial of a workload at every batch size and sparsity, up to its goal.

    Each trial is stored when it ends; after any interruption --resume goes on. With --resume, --trials may
    raise the number of trials.

    \b
    Example:
        sparsefit sweep --workload digits --batch-sizes 16:256 --sparsity 0,0.9 --trials 8 --out digits.db
        sparsefit sweep --resume digits.db
    """
    from sparsefit.experiment import workload as workloads
    from sparsefit.experiment.progress import reporting
    from sparsefit.experiment.provenance import begin_session
    from sparsefit.experiment.runner import TrialRunner, mask_folder
    from sparsefit.experiment.store import Store, open_store
    from sparsefit.experiment.study import Definition, parse_batch_sizes, parse_sparsities
    from sparsefit.experiment.sweep import Terminated, run, terminable

    if resume is not None and (settled := given(DEFINING)):
        raise InputError(f"--resume takes the sweep as its file defines it; leave out {settled}")
    if resume is None and (workload is None or out is None):
        raise InputError("give --workload and --out to start a sweep, or --resume to go on with one")

    if resume is not None:
        store = open_store(resume)
        definition = store.definition
    else:
        assert workload is not None
        assert out is not None
        chosen = workloads.load(workload)
        definition = Definition(
            chosen,
            chosen.batch_sizes if batch_sizes is None else parse_batch_sizes(batch_sizes),
            chosen.sparsities if sparsity is None else parse_sparsities(sparsity),
            chosen.trials if trials is None else trials,
            cap=not no_cap,
            curves=full_curves,
            backend=backend or "sparse",
        )
    runner = TrialRunner(definition, data_dir)
    definition.check_batch_sizes(runner.n_training)
    runner.check()
    used = click.get_current_context().with_resource(open_engine(engine, address, jobs))
    if resume is None:
        assert out is not None
        store = Store.create(out, definition)
    with store:
        begin_session(store, runner, used)
        if resume is not None and trials is not None:
            store.extend(trials)
            definition = store.definition
        runner = TrialRunner(definition, data_dir, mask_folder(store.path), store.created)
        try:
            with terminable(), reporting(used.jobs) as report:
                left_out = run(store, used, runner, report)
        except (KeyboardInterrupt, Terminated) as signal:
            click.echo(
                f"\nstopped; {report.done} of {report.total} trials are in {store.path}; "
                f"go on with: sparsefit sweep --resume {store.path}",
                err=True,
            )
            sys.exit(130 if isinstance(signal, KeyboardInterrupt) else 143)
        except Exception:
            click.echo(f"what has ended is safe in {store.path}", err=True)
            raise
    if left_out:
        raise InputError(
            f"{len(left_out)} trials were left out because their process died, as said above; if memory ran "
            "out, use fewer --jobs; "
            f"go on with: sparsefit sweep --resume {store.path}"
        )
    click.echo(f"{store.path}: finished; tables: sparsefit collect {store.path} -o results.csv", err=True)
