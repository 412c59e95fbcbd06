"""``sparsefit plan``: which batch size to train at, how many steps, what it costs."""

from __future__ import annotations

import click


@click.command(name="plan", short_help="Choose a batch size from a fit, or cost one.")
@click.argument("fit")
@click.option("--batch-size", type=float, help="The batch size itself: how many steps at it?")
@click.option("--budget-samples", type=float, help="Largest work K·B, in the unit of the batch sizes.")
@click.option(
    "--max-overhead",
    type=float,
    help="Largest share by which the work may exceed the least, c1: 0.2 is 20 %.",
)
@click.option("--devices-max-batch", type=float, help="Largest batch that the devices take together.")
@click.option("--json", "json_path", help="Write all numbers as JSON; - for stdout.")
def command(
    fit: str,
    batch_size: float | None,
    budget_samples: float | None,
    max_overhead: float | None,
    devices_max_batch: float | None,
    json_path: str | None,
) -> None:
    """Say for each group of FIT (sparsefit fit --json) which batch size to use, and what it costs.

    A larger batch always saves steps and always costs samples, so the answer is the largest batch size within
    the limits; at least one must be given, or the batch size itself. Costs are those at this batch size:
    steps, samples, and by how much they exceed the least steps (c2) and the least samples (c1) there are.

    \b
    Example:
        sparsefit fit examples/simulated_sparsity.csv --json fit.json
        sparsefit plan fit.json --batch-size 512
        sparsefit plan fit.json --max-overhead 0.2
        sparsefit plan fit.json --budget-samples 200000 --devices-max-batch 512
    """
    from sparsefit.cli.output import check_outputs, write
    from sparsefit.errors import InputError

    limits = (budget_samples, max_overhead, devices_max_batch)
    if batch_size is None and all(limit is None for limit in limits):
        raise InputError(
            "give --batch-size, or one or more of --budget-samples, --max-overhead and --devices-max-batch"
        )
    check_outputs({"--json": json_path}, [fit])

    from sparsefit.fitting.json_fields import as_json
    from sparsefit.fitting.plan import plan

    result = plan(
        fit,
        batch_size=batch_size,
        budget_samples=budget_samples,
        max_overhead=max_overhead,
        devices_max_batch=devices_max_batch,
    )
    if json_path is not None:
        write(json_path, as_json(result.to_dict()).encode())
    if json_path != "-":
        from rich.console import Console

        from sparsefit.report.plan_table import render
        from sparsefit.report.terminal import show

        show(Console(), render(result))
