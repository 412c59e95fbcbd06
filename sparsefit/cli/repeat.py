"""``sparsefit repeat``: run the winners of a sweep again with fresh seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sparsefit.cli.engines import engine_options, open_engine
from sparsefit.errors import InputError

if TYPE_CHECKING:
    from sparsefit.experiment.records import RepeatSpec, TrialEnd


@click.command(name="repeat", short_help="Run the winners again with fresh seeds.")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Fresh seeds for each winner."
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data sets are.")
@engine_options
def command(
    sweep: Path, seeds: int, data_dir: Path | None, engine: str, address: str | None, jobs: int | None
) -> None:
    """Run the winner of each finished study of SWEEP again, with fresh seeds.

    The trial with the fewest steps was lucky, too. The same metaparameters with other initial weights, masks
    and orders of examples say how much. Runs are stored in the file of the sweep when they end; the same
    command goes on after an interruption, and with more --seeds adds to what is there.

    \b
    Example:
        sparsefit repeat w1.db --seeds 3
        sparsefit collect w1.db --repeats -o w1_seeds.csv
        sparsefit fit w1_seeds.csv
    """
    from sparsefit.experiment import repeats
    from sparsefit.experiment.provenance import begin_session
    from sparsefit.experiment.runner import TrialRunner, mask_folder
    from sparsefit.experiment.store import open_store
    from sparsefit.experiment.sweep import Terminated, terminable
    from sparsefit.experiment.tables import count_unfinished

    used = click.get_current_context().with_resource(open_engine(engine, address, jobs))
    with open_store(sweep) as store:
        if not repeats.winners(store):
            if not any(count_unfinished(store).values()):
                raise InputError(
                    f"{sweep} is finished, and no study of it reached its goal, so there is no winner to "
                    "repeat: sweep anew with a looser goal_error, more max_steps or another search_space"
                )
            raise InputError(
                f"{sweep} has no finished study that reached its goal; "
                f"go on with: sparsefit sweep --resume {sweep}"
            )
        runner = TrialRunner(store.definition, data_dir, mask_folder(store.path), store.created)
        specs = repeats.missing(store, seeds)
        total = len(specs)
        if specs:
            begin_session(store, runner, used)
        done = 0

        def ended(spec: RepeatSpec, run: TrialEnd) -> None:
            nonlocal done
            done += 1
            click.echo(
                f"{done} of {total}: {spec}: {run.end.status.replace('_', ' ')} at step {run.end.step}",
                err=True,
            )

        def failed(spec: RepeatSpec, reason: str, last: bool) -> None:
            click.echo(f"{spec}: {reason}; {'left out for now' if last else 'trying again'}", err=True)

        try:
            with terminable():
                left_out = repeats.run(store, used, runner, specs, ended, failed) if specs else []
        except (KeyboardInterrupt, Terminated) as signal:
            click.echo(
                f"\nstopped; {done} of {total} runs are in {sweep}; "
                f"go on with: sparsefit repeat {sweep} --seeds {seeds}",
                err=True,
            )
            sys.exit(130 if isinstance(signal, KeyboardInterrupt) else 143)
    if left_out:
        raise InputError(
            f"{len(left_out)} runs were left out because their process died, as said above; if memory ran "
            "out, use fewer --jobs; "
            f"go on with: sparsefit repeat {sweep} --seeds {seeds}"
        )
    click.echo(f"{sweep}: every winner has its repeats; table: sparsefit collect {sweep} --repeats", err=True)
