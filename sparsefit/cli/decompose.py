"""``sparsefit decompose``: what makes c1 differ between a sparse network and its dense original."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparsefit.cli.given import given
from sparsefit.cli.output import check_outputs
from sparsefit.errors import InputError

if TYPE_CHECKING:
    from sparsefit.fitting.decomposition import Decomposition
    from sparsefit.trajectory import Trajectory

MEASURING = (
    "sparse",
    "workload",
    "seeds",
    "learning_rate",
    "momentum",
    "batch_size",
    "steps",
    "every",
    "gammas",
    "f_inf",
    "beta_examples",
    "curvature_examples",
    "data_dir",
    "confidence",
)
"""Options that a new measurement takes and a file has already."""

OF_WORKLOAD = ("dataset", "model", "goal_error", "pruning", "pruning_scope", "prune_biases")
"""What the numbers depend on of the workload, whose file may change."""

LARGE = 10_000
"""Training sets above this size give Eq. 7 a random subset of their examples unless told otherwise."""

SUBSET = 2_000
"""Examples of that subset."""


@click.command(name="decompose", short_help="Measure Δ, L and β of c1, dense and sparse.")
@click.option("--sparse", help="Sparsities to compare with dense, like 0.9 or 0.5,0.7,0.9.")
@click.option("--workload", default="digits", show_default=True, help="Built-in name or study file (.toml).")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Repetitions.")
@click.option("--learning-rate", type=float, help="η.  [default: 0.1 for sgd, 0.01 with momentum]")
@click.option("--momentum", type=float, help="Of training with momentum.  [default: 0.9]")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Of training.")
@click.option("--steps", type=click.IntRange(2), default=400, show_default=True, help="Length of training.")
@click.option(
    "--every", type=click.IntRange(2), default=100, show_default=True, help="Steps between measurements."
)
@click.option(
    "--gammas",
    type=click.Choice(["paper", "release"]),
    default="paper",
    show_default=True,
    help="γ of Eq. 7: 0.1 .. 1, or the release's 0.1 .. 0.9.",
)
@click.option("--f-inf", default="0", show_default=True, help="f∞ of Δ: a number, or 'lowest' loss measured.")
@click.option(
    "--beta-examples",
    default="1500",
    show_default=True,
    help="Examples drawn for β at each point, or 'all'.",
)
@click.option(
    "--curvature-examples",
    help=f"Examples for the gradients of Eq. 7, or 'all'.  [default: all; {SUBSET:,} if more than {LARGE:,}]",
)
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the intervals.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the data sets are.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="Print a saved decomposition.")
@click.option("--fit", "fit_path", type=click.Path(path_type=Path), help="Fitted c1, c2 to print beside.")
@click.option("--layers", is_flag=True, help="Add the share of each layer in β and in the curvature.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the numbers as JSON.")
def command(
    source: Path | None,
    fit_path: Path | None,
    layers: bool,
    save: Path | None,
    **options: Any,
) -> None:
    """Measure Δ, L and β of c1 = ΔLβ/(μ²ε²), dense and sparse, over seeds.

    A seed is a whole repetition: split, initial weights and hence masks, order of examples. Dense and sparse
    networks of a seed share them, so ratios are paired. docs/decomposition.md defines every number.

    \b
    Example:
        sparsefit decompose --sparse 0.9
        sparsefit decompose --sparse 0.9 --workload w1 --seeds 5 --save w1.json
        sparsefit decompose --from w1.json
    """
    from rich.console import Console

    from sparsefit.fitting import decomposition_file
    from sparsefit.fitting.fit_file import read_parts
    from sparsefit.report.decomposition_table import render
    from sparsefit.report.terminal import show

    if save is not None:
        inputs = [source, fit_path, options["workload"] if source is None else None]
        check_outputs({"--save": str(save)}, [path for path in inputs if path is not None])
        if source is None and save.is_file() and save.stat().st_size:
            raise InputError(
                f"--save: {save} exists, and a new measurement would replace what it holds: name another "
                "file, or delete it first"
            )
    if source is not None:
        if settled := given(MEASURING):
            raise InputError(f"--from prints what its file holds; leave out {settled}")
        decomposition = decomposition_file.load(source)
    else:
        if not options["sparse"]:
            raise InputError("give --sparse, like --sparse 0.9, to measure, or --from to print a saved file")
        decomposition = measure(options, save, fit_path)
    fitted = read_parts(fit_path, decomposition.workload) if fit_path else None
    if save is not None and source is not None:
        decomposition_file.save(save, decomposition)
    show(Console(), render(decomposition, fitted, layers=layers))


def measure(options: dict[str, Any], save: Path | None, fit_path: Path | None) -> Decomposition:
    """Read the options and the fit, measure, and summarise; what is known after each seed is saved."""
    sparsities = read_sparsities(options["sparse"])
    f_inf = read_f_inf(options["f_inf"])
    beta_examples = read_count(options["beta_examples"], "--beta-examples")
    curvature = options["curvature_examples"]
    confidence = positive(options["confidence"], "--confidence", below=1.0)

    from sparsefit.experiment import data
    from sparsefit.experiment import workload as workloads
    from sparsefit.experiment.measure import Choices, default_metaparameters
    from sparsefit.experiment.measure import measure as run
    from sparsefit.experiment.smoothness import PAPER_GAMMAS, RELEASE_GAMMAS
    from sparsefit.experiment.sweep import Terminated, terminable
    from sparsefit.fitting import decomposition_file
    from sparsefit.fitting.decomposition import decompose
    from sparsefit.fitting.fit_file import read_parts

    workload = workloads.load(options["workload"])
    if fit_path is not None:
        read_parts(fit_path, workload.name)
    metaparameters = default_metaparameters(workload)
    if options["learning_rate"] is not None:
        metaparameters["learning_rate"] = positive(options["learning_rate"], "--learning-rate")
    if options["momentum"] is not None:
        if "momentum" not in metaparameters:
            raise InputError(f"--momentum: the workload {workload.name!r} trains with {workload.optimizer}")
        metaparameters["momentum"] = positive(options["momentum"], "--momentum", below=1.0, or_zero=True)
    dataset = data.load(workload.dataset, options["data_dir"])
    n_training = len(data.split(dataset)[0])
    choices = Choices(
        metaparameters=metaparameters,
        batch_size=options["batch_size"],
        steps=options["steps"],
        every=options["every"],
        gammas=PAPER_GAMMAS if options["gammas"] == "paper" else RELEASE_GAMMAS,
        beta_examples=beta_examples,
        curvature_examples=(
            read_count(curvature, "--curvature-examples")
            if curvature is not None
            else (SUBSET if n_training > LARGE else None)
        ),
    )
    settings = {
        "optimizer": workload.optimizer,
        **choices.to_dict(),
        "training_examples": n_training,
        **{name: getattr(workload, name) for name in OF_WORKLOAD},
        "varied_over_seeds": "split, initial weights, masks, order of mini-batches",
    }
    trajectories: list[Trajectory] = []
    done = 0
    try:
        with terminable(), progress() as tell:
            for done in range(options["seeds"]):
                trajectories += run(
                    workload, dataset, sparsities, [done], choices, confidence=confidence, progress=tell
                )
                found = decompose(
                    workload.name, trajectories, f_inf=f_inf, settings=settings, confidence=confidence
                )
                if save is not None:
                    decomposition_file.save(save, found)
    except (KeyboardInterrupt, Terminated) as signal:
        kept = f"are in {save}" if save is not None and done else "were measured, and nothing is saved"
        click.echo(f"\nstopped; {done} of {options['seeds']} seeds {kept}", err=True)
        sys.exit(130 if isinstance(signal, KeyboardInterrupt) else 143)
    return found


def read_sparsities(text: str) -> tuple[float, ...]:
    """Read a list like ``0.5,0.9``."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--sparse: got {text!r}, allowed shares of zeros like 0.9 or 0.5,0.7,0.9") from None
    for sparsity in found:
        if not 0 < sparsity < 1:
            raise InputError(
                f"--sparse: got {sparsity:g}, allowed above 0 and below 1: the share of zeros, not percent; "
                "the dense network is always measured"
            )
    if len(set(found)) < len(found):
        raise InputError(f"--sparse: got {text!r}, in which a sparsity stands twice")
    return found


def read_f_inf(text: str) -> float | str:
    """Read a finite number or ``lowest``."""
    if text == "lowest":
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"--f-inf: got {text!r}, allowed a number or 'lowest'")
    return value


def read_count(text: str, option: str) -> int | None:
    """Read a number of examples, at least 2, or ``all`` as None."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 2:
        raise InputError(f"{option}: got {text!r}, allowed a whole number, 2 or more, or 'all'")
    return int(text)


def positive(number: float, option: str, below: float = math.inf, *, or_zero: bool = False) -> float:
    """Return a number above 0, or 0 where that is allowed, and below a limit."""
    if not (0 < number < below or (or_zero and number == 0)):
        limit = "finite" if below == math.inf else f"below {below:g}"
        raise InputError(
            f"{option}: got {number:g}, allowed {'0 or more' if or_zero else 'above 0'} and {limit}"
        )
    return number


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show what runs on one line of the terminal; nothing where there is none."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("measuring") as status:
        yield lambda text: status.update(text)
