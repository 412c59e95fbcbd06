"""Training speed of whole trials against torch dense with masked weights, in one run on one thread.

    python benchmarks/trials.py

The losses of both are compared over some steps before anything is timed. Dense is the better of NCHW and
channels_last, with the same update (`experiment.optimizer`) and micro-batches of its own best size.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import Any

import click
import torch
from timing import interleave, provenance
from torch import Tensor, nn

from sparsefit.conv import sparsify
from sparsefit.experiment import model, prune
from sparsefit.experiment.blocked_model import make_blocked
from sparsefit.experiment.data import DataSet
from sparsefit.experiment.network import Network, TorchNetwork
from sparsefit.experiment.optimizer import Optimizer
from sparsefit.experiment.trial import accumulate_gradient

MODELS = {"simple-cnn": (1, 28, 28), "resnet-8": (3, 32, 32)}
SPARSITIES = (0.0, 0.5, 0.9)
BATCHES = (2, 16, 128, 1024, 8192)
SETTING = {"learning_rate": 1e-6, "momentum": 0.9}


class ChannelsLast(TorchNetwork):
    """A dense network whose images come in channels_last."""

    def add_gradient(self, images: Tensor, labels: Tensor, divisor: int) -> float:
        return super().add_gradient(images.contiguous(memory_format=torch.channels_last), labels, divisor)


def random_images(shape: tuple[int, int, int], n: int) -> DataSet:
    """Images of noise: what they show changes no speed."""
    images = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % 10
    return DataSet("noise", images, labels, 10, (0.0,), (1.0,), "")


def snip(name: str, sparsity: float, dataset: DataSet) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return a new model and its masks, made by SNIP on one batch."""
    initial = model.build(name, dataset.input_shape, 10, seed=0)
    return initial, prune.masks(initial, dataset, torch.arange(100).numpy(), sparsity, scope="one-batch")


def kept_products(name: str, sparsity: float, dataset: DataSet) -> float:
    """Return the share of the multiply-adds of a forward pass whose weights are kept."""
    initial, masks = snip(name, sparsity, dataset)
    pixels = {}

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        pixels[layer] = output[0, 0].numel()

    layers = {key: layer for key, layer in initial.named_modules() if f"{key}.weight" in masks}
    for layer in layers.values():
        layer.register_forward_hook(note)
    initial(dataset.train_images[:1])
    kept = sum(pixels[layer] * int(masks[f"{key}.weight"].sum()) for key, layer in layers.items())
    return kept / sum(pixels[layer] * masks[f"{key}.weight"].numel() for key, layer in layers.items())


def networks(name: str, sparsity: float, dataset: DataSet) -> dict[str, tuple[Network, Optimizer]]:
    """Return the candidates with their optimizers."""
    initial, masks = snip(name, sparsity, dataset)

    def dense(kind: type[TorchNetwork], memory_format: torch.memory_format) -> tuple[Network, Optimizer]:
        copy = model.build(name, dataset.input_shape, 10, seed=0).to(memory_format=memory_format)  # type: ignore[call-overload]
        parameters = dict(copy.named_parameters())
        network = kind(copy)
        kept = {parameters[key]: mask for key, mask in masks.items()} if sparsity else None
        return network, Optimizer(network.parameters(), "momentum", "constant", SETTING, kept)

    sparse = make_blocked(sparsify(initial, masks, backend="sparse"))
    assert sparse is not None
    return {
        "sparsefit": (sparse, Optimizer(sparse.parameters(), "momentum", "constant", SETTING)),
        "nchw": dense(TorchNetwork, torch.contiguous_format),
        "channels_last": dense(ChannelsLast, torch.channels_last),
    }


def step(candidate: tuple[Network, Optimizer], dataset: DataSet, batch: Tensor) -> float:
    """Make one step of a trial."""
    network, optimizer = candidate
    images, labels = dataset.train_images, dataset.train_labels
    loss = accumulate_gradient(network, optimizer, images, labels, batch)
    optimizer.step(0)
    return loss


def check(candidates: dict[str, tuple[Network, Optimizer]], dataset: DataSet) -> None:
    """Refuse to time networks that do not train alike."""
    losses = {}
    for name, candidate in candidates.items():
        losses[name] = [step(candidate, dataset, torch.arange(48) + 48 * k) for k in range(3)]  # 144 images
    for name, found in losses.items():
        if not torch.allclose(torch.tensor(found), torch.tensor(losses["nchw"]), rtol=1e-4):
            raise SystemExit(f"{name} and torch disagree: {losses}")


def peak_memory(name: str, batch_size: int) -> float:
    """Return the MiB that a fresh process takes to train at a batch size, interpreter and data included."""
    code = (
        "import pathlib, sys, torch; sys.path.insert(0, 'benchmarks'); import trials\n"
        "torch.set_num_threads(1)\n"
        f"data = trials.random_images({MODELS[name]}, 8192)\n"
        f"candidate = trials.networks({name!r}, 0.9, data)['sparsefit']\n"
        f"for _ in range(2): trials.step(candidate, data, torch.arange({batch_size}))\n"
        # Not ru_maxrss, which a new process takes over from the one that started it.
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(status.partition('VmHWM:')[2].split()[0])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(found.stdout) / 1024


def print_ratios(cells: list[dict[str, Any]]) -> None:
    """Print the table of docs/sweeps.md: ratios to dense, a column a batch size."""
    rows: dict[tuple[str, float], dict[int, float]] = {}
    for cell in cells:
        rows.setdefault((cell["model"], cell["sparsity"]), {})[cell["batch_size"]] = cell["ratio"]
    sizes = list(next(iter(rows.values())))
    click.echo(f"\n| model | sparsity | {' | '.join(f'B = {size}' for size in sizes)} |")
    click.echo(f"|---|---|{'---|' * len(sizes)}")
    for (name, sparsity), ratios in rows.items():
        click.echo(f"| {name} | {sparsity:g} | {' | '.join(f'{ratios[size]:.2f}×' for size in sizes)} |")


@click.command()
@click.option("--models", default=",".join(MODELS), help="Comma-separated.")
@click.option("--batches", default=",".join(map(str, BATCHES)), help="Comma-separated.")
@click.option("--seconds", default=3.0, help="Budget of one cell.")
@click.option("--memory/--no-memory", default=True, help="Measure peak memory too.")
@click.option("--json", "json_file", type=click.Path(), help="Write the numbers here.")
def main(models: str, batches: str, seconds: float, memory: bool, json_file: str | None) -> None:
    """Print training samples/s of sparsefit and of the best dense, and their ratio."""
    torch.set_num_threads(1)
    cells, kept = [], []
    click.echo("| model | sparsity | B | dense samples/s | sparsefit samples/s | ratio | spread |")
    click.echo("|---|---|---|---|---|---|---|")
    for name in models.split(","):
        dataset = random_images(MODELS[name], max(144, *map(int, batches.split(","))))
        for sparsity in SPARSITIES:
            candidates = networks(name, sparsity, dataset)
            check(candidates, dataset)
            kept.append(
                {"model": name, "sparsity": sparsity, "share": kept_products(name, sparsity, dataset)}
            )
            for size in map(int, batches.split(",")):
                batch = torch.arange(size)
                calls = {key: partial(step, each, dataset, batch) for key, each in candidates.items()}
                times = interleave(calls, rounds=9, budget_seconds=seconds)
                dense = min(times["nchw"].fastest, times["channels_last"].fastest)
                ours = times["sparsefit"]
                cells.append(
                    {"model": name, "sparsity": sparsity, "batch_size": size, "ratio": dense / ours.fastest}
                    | {"dense": size / dense, "sparsefit": size / ours.fastest, "spread": ours.spread}
                )
                click.echo(
                    f"| {name} | {sparsity:g} | {size} | {size / dense:,.0f} | {size / ours.fastest:,.0f} "
                    f"| {dense / ours.fastest:.2f} | {ours.spread:.0%} |"
                )
    print_ratios(cells)
    for row in kept:
        click.echo(
            f"{row['model']}, sparsity {row['sparsity']:g}: {row['share']:.1%} of the products are kept"
        )
    memories = {}
    if memory:
        for name in models.split(","):
            memories[name] = {size: peak_memory(name, size) for size in (128, 8192)}
            small, large = memories[name].values()
            click.echo(f"\n{name}: peak memory {small:.0f} MiB at B = 128, {large:.0f} MiB at B = 8192")
    if json_file:
        with open(json_file, "w") as stream:
            json.dump({**provenance(), "cells": cells, "kept": kept, "peak_mib": memories}, stream, indent=1)


if __name__ == "__main__":
    main()
