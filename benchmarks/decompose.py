"""Decomposition: coverage of β's interval, accuracy against closed forms, wall time and memory.

    python benchmarks/decompose.py coverage [--repeats 2000] [--json decompose.json]
    python benchmarks/decompose.py accuracy [--json accuracy.json]
    python benchmarks/decompose.py cost --workload w1 --data-dir FOLDER

Coverage: the per-example gradients of real networks are measured once, along training; then the estimator
draws its sample from them as `gradient_noise` does, again and again. The truth is the mean over all examples.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsefit.experiment import data, model, prune, workload
from sparsefit.experiment.gradient_noise import draw_probabilities, gradient_noise
from sparsefit.experiment.gradients import Objective
from sparsefit.experiment.smoothness import local_smoothness
from sparsefit.quantity import mean_interval


def populations(sparsity: float, seed: int = 0) -> Iterator[Any]:
    """Yield name, squared distances and probabilities for every training example of digits along training."""
    chosen = workload.load("digits")
    dataset = data.load("digits")
    order = data.ExampleOrder(len(dataset.train_labels), seed)
    network = model.build(chosen.model, dataset.input_shape, dataset.n_classes, seed)
    masks = prune.masks(network, dataset, order.pruning, sparsity)
    objective = Objective(
        network,
        dataset.train_images,
        dataset.train_labels,
        indices=torch.from_numpy(order.train),
        masks=masks,
    )
    weights = objective.initial
    batches = order.batches(64)
    for step in range(1, 402):
        if step in (1, 101, 401):
            full = objective.evaluate(weights)
            squares = torch.cat(
                [
                    (g - full.gradient).square().sum(1)
                    for g in objective.per_example(weights, objective.indices)
                ]
            )
            yield step, squares.double().numpy(), draw_probabilities(full.output_gradients.numpy())
        gradient = objective.evaluate(weights, torch.from_numpy(next(batches))).gradient
        weights = weights - 0.05 * gradient.float()


def coverage(repeats: int) -> list[dict[str, float]]:
    """Print, and return, how often the 95 % interval of β holds the β of the whole training set."""
    generator = np.random.default_rng(0)
    rows: list[dict[str, float]] = []
    print("| sparsity | step | examples drawn | bias | relative s.d. | covered by 95 % | even draws cover |")
    print("|---|---|---|---|---|---|---|")
    for sparsity in (0.0, 0.9):
        for step, squares, probabilities in populations(sparsity):
            truth = squares.mean()
            terms = squares / (len(squares) * probabilities)
            for n in (100, 300, 1000):
                weighted = generator.choice(len(squares), (repeats, n), p=probabilities)
                estimates = [mean_interval(terms[drawn]) for drawn in weighted]
                even = [
                    mean_interval(squares[generator.integers(len(squares), size=n)]) for _ in range(repeats)
                ]
                values = np.array([estimate.value for estimate in estimates])
                row = {
                    "sparsity": sparsity,
                    "step": step,
                    "examples": n,
                    "bias": values.mean() / truth - 1,
                    "relative_sd": values.std() / truth,
                    "covered": covered(estimates, truth),
                    "even_covered": covered(even, truth),
                }
                rows.append(row)
                print(
                    f"| {sparsity:g} | {step} | {n} | {row['bias']:+.2%} | {row['relative_sd']:.1%} "
                    f"| {row['covered']:.1%} | {row['even_covered']:.1%} |",
                    flush=True,
                )
    return rows


def covered(estimates: Iterable[Any], truth: float) -> float:
    """Return the share of intervals that hold the truth."""
    return float(np.mean([estimate.low <= truth <= estimate.high for estimate in estimates]))


def accuracy() -> dict[str, float]:
    """Print, and return, the largest errors of L and β on random small networks, by their full Hessians."""
    errors: dict[str, list[float]] = {"L (float64)": [], "L (float32)": [], "β (float32)": []}
    for seed in range(20):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        images, labels = torch.randn(300, 6, dtype=torch.float64), torch.randint(0, 4, (300,))
        exact = Objective(network.double(), images, labels)
        w = exact.initial

        def mean_loss(w: Tensor, exact: Objective = exact) -> Tensor:
            return exact.loss(exact.outputs(w, exact.images), exact.labels).mean()

        d = -1e-3 * exact.evaluate(w).gradient
        hessian = torch.autograd.functional.hessian(mean_loss, w)
        truth = float((hessian @ d).norm() / d.norm())
        loop = torch.stack([exact.evaluate(w, torch.tensor([i])).gradient for i in range(300)])
        beta = float((loop - loop.mean(0)).square().sum() / 300)
        single = Objective(network.float(), images.float(), labels)
        v = single.initial
        errors["L (float64)"].append(local_smoothness(exact, w, w + d).value / truth - 1)
        errors["L (float32)"].append(local_smoothness(single, v, v + d.float()).value / truth - 1)
        noise = gradient_noise(single, v, single.evaluate(v), None, np.random.default_rng(0))
        errors["β (float32)"].append(noise.beta.value / beta - 1)
    largest = {name: float(np.abs(found).max()) for name, found in errors.items()}
    for name, error in largest.items():
        print(f"{name}: largest relative error {error:.2e} over {len(errors[name])} networks")
    return largest


def cost(arguments: list[str]) -> None:
    """Run the command and print its wall time and peak memory."""
    command = [sys.executable, "-m", "sparsefit", "decompose", "--sparse", "0.9", *arguments]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{' '.join(command[2:])}: {time.perf_counter() - started:.0f} s, peak memory {peak:.0f} MiB")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["coverage", "accuracy", "cost"])
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    known, rest = parser.parse_known_args()
    if known.what == "cost":
        cost(rest)
        return
    if known.what == "coverage":
        found: dict[str, Any] = {"repeats": known.repeats, "coverage": coverage(known.repeats)}
    else:
        found = {"largest_relative_error": accuracy()}
    if known.json:
        known.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
