"""``sparsefit plan``: which batch size to train at, how many steps, what it costs."""

from __future__ import annotations

import click


@click.command(name="plan")
@click.argument("fit")
@click.option("--budget-samples", type=float, help="Largest work K·B, in the unit of the batch sizes.")
@click.option("--max-overhead", type=float, help="Largest share by which the work may exceed the least, c1.")
@click.option("--devices-max-batch", type=float, help="Largest batch that the devices take together.")
@click.option("--json", "json_path", help="Write all numbers as JSON; - for stdout.")
def command(
    fit: str,
    budget_samples: float | None,
    max_overhead: float | None,
    devices_max_batch: float | None,
    json_path: str | None,
) -> None:
    """Say for each group of FIT (sparsefit fit --json) which batch size to use, and what it costs.

    A larger batch always saves steps and always costs samples, so the answer is the largest batch size within
    the limits; at least one must be given. Costs are those at this batch size: steps, samples, and by how
    much they exceed the least steps (c2) and the least samples (c1) there are.

    \b
    Example:
        sparsefit fit examples/simulated_sparsity.csv --json fit.json
        sparsefit plan fit.json --max-overhead 0.2
        sparsefit plan fit.json --budget-samples 200000 --devices-max-batch 512
    """
    from sparsefit.cli.output import check_outputs, write
    from sparsefit.errors import InputError

    limits = (budget_samples, max_overhead, devices_max_batch)
    if all(limit is None for limit in limits):
        raise InputError("give --budget-samples, --max-overhead or --devices-max-batch, or several of them")
    check_outputs({"--json": json_path}, [fit])

    from sparsefit.fitting.plan import plan

    result = plan(
        fit, budget_samples=budget_samples, max_overhead=max_overhead, devices_max_batch=devices_max_batch
    )
    if json_path != "-":
        from rich.console import Console

        from sparsefit.report.decomposition_table import show
        from sparsefit.report.plan_table import render

        show(Console(), render(result))
    if json_path is not None:
        import json

        text = json.dumps(result.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write(json_path, text.encode())
