"""Sparse convolution kernels against dense torch, layer by layer: python benchmarks/kernels.py --help.

Every result is checked against a float64 reference before it is timed. README.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from candidates import (
    ALL,
    BACKWARD_INPUT,
    BACKWARD_WEIGHT,
    FORWARD,
    PASSES,
    Candidate,
    Compiler,
    CoreCandidate,
    dense_layer,
    dense_passes,
    sparse_layer,
    sparseprop_layers,
    train_step,
)
from kernel_tables import print_tables
from kernels_cuda import run_on_gpu
from layers import Layer, Operands, read_layers
from rich.console import Console
from rich.progress import Progress
from timing import Timing, interleave, provenance, write_json
from torch import Tensor

from sparsefit import _core

SPARSITIES = [0.5, 0.7, 0.8, 0.9, 0.95]
BATCH_SIZES = [2, 8, 16, 32, 64, 128, 256, 1024]
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", nargs="+", default=[], help="names in shapes/*.txt, or files of them")
    parser.add_argument("--sparsities", nargs="+", type=float, default=SPARSITIES, help="shares of zeros")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=BATCH_SIZES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--compile-seconds",
        type=float,
        default=1200,
        help="compile dense layers until these are spent in all, and say which are left out; 0: none",
    )
    parser.add_argument(
        "--quick", action="store_true", help="batch 2 and 64, sparsity 0.5 and 0.9, few rounds"
    )
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: time of the one thread, so that other processes on a shared machine count less",
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds after which no new round starts")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no new layer after these")
    parser.add_argument(
        "--json", metavar="PATH", type=Path, help="write what was measured; what is there already is kept"
    )
    options = parser.parse_args()
    if options.quick:
        options.batch_sizes, options.sparsities, options.rounds = [2, 64], [0.5, 0.9], 5
        options.compile_seconds = 0.0
    if options.clock == "cpu" and options.threads > 1:
        parser.error("--clock cpu times one thread: leave it out, or use --threads 1")
    torch.set_num_threads(options.threads)

    layers = read_layers(options.layers)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    if options.device == "cuda":
        run_on_gpu(layers, options, console)
        return
    result = read_result(options.json)
    cells = [(layer, batch) for layer in layers for batch in options.batch_sizes]
    done = {(row["layer"], row["batch"], row["threads"]) for row in result["rows"]}
    cells = [(layer, batch) for layer, batch in cells if (layer.name, batch, options.threads) not in done]
    compiler = Compiler(options.compile_seconds)
    start = time.perf_counter()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(cells))
        for layer, batch in cells:
            if time.perf_counter() - start > options.seconds:
                console.print("time is up: the same command goes on from here")
                break
            progress.update(task, description=f"{layer.name}, batch {batch}")
            # The best readings: a noisy machine only lowers them.
            for name, from_memory in (("peak_gflops", False), ("memory_peak_gflops", True)):
                result[name] = max(result.get(name, 0.0), _core.fma_peak(0.05, from_memory))
            result["rows"] += measure(layer, batch, options, compiler)
            if options.json:
                write_json(options.json, result)
            progress.advance(task)
    print_tables(result, console)


def read_result(path: Path | None) -> dict[str, Any]:
    """Return the result to go on with, or a new one; refuse one from another machine or build."""
    new = {**provenance(), "isa": _core.isa(), "torch": torch.__version__, "peak_gflops": 0.0, "rows": []}
    if path is None or not path.exists():
        return new
    result = json.loads(path.read_text())
    for key in ("cpu", "isa", "torch"):
        if result[key] != new[key]:
            raise SystemExit(
                f"{path} was measured with {key} {result[key]}, this is {new[key]}: name another"
            )
    return result


def measure(
    layer: Layer, batch: int, options: argparse.Namespace, compiler: Compiler
) -> list[dict[str, Any]]:
    """Check, then time, every candidate for one layer and batch size; return a row for each sparse one."""
    operands = Operands(layer, batch, options.sparsities)
    sparse: dict[tuple[str, float], dict[str, Candidate]] = {}
    for sparsity in options.sparsities:
        for kind, blocked in (("blocked", True), ("NCHW", False)):
            candidate = CoreCandidate(operands, sparsity, options.threads, blocked=blocked)
            passes = candidate.passes()
            check(candidate, passes, operands, sparsity)
            sparse[kind, sparsity] = passes
    dense = {name: dense_passes(operands, form) for name, form in FORMATS.items()}
    compiled = compiler.train_step(operands)
    rows = []
    for name in PASSES:
        if layer.first and name == BACKWARD_INPUT:
            continue
        rivals = {key: passes[name] for key, passes in dense.items()}
        if name == ALL:
            rivals |= compiled
        ours = {key: passes[name] for key, passes in sparse.items()}
        rows += compare(layer, batch, name, rivals, ours, operands, options)
    if options.threads > 1:
        for sparsity in options.sparsities:
            alone = {"one thread": CoreCandidate(operands, sparsity, 1, blocked=True).passes()[ALL]}
            together = {("scaling", sparsity): sparse["blocked", sparsity][ALL]}
            rows += compare(layer, batch, ALL, alone, together, operands, options)
    steps = {name: train_step(dense_layer(operands), operands, form) for name, form in FORMATS.items()}
    steps |= compiled
    for sparsity in options.sparsities:
        layers: dict[Any, Candidate] = {
            ("layer", sparsity): train_step(
                sparse_layer(operands, sparsity, "sparse"), operands, torch.contiguous_format
            )
        }
        for name, form in FORMATS.items():
            module = sparse_layer(operands, sparsity, "auto")
            layers[f"auto, {name}", sparsity] = train_step(module, operands, form)
        for name, module in sparseprop_layers(operands, sparsity).items():
            layers[name, sparsity] = train_step(module, operands, torch.contiguous_format)
        rows += join_layouts(compare(layer, batch, ALL, steps, layers, operands, options))
    return [{**row, "compiled": bool(compiled)} for row in rows]


def join_layouts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep `auto` in the faster of its layouts, as the dense layer is the fastest of its own."""
    autos = [row for row in rows if row["kind"].startswith("auto, ")]
    best = max(autos, key=lambda row: row["ratio"])
    return [*(row for row in rows if row not in autos), {**best, "kind": "auto", "layout": best["kind"][6:]}]


def compare(
    layer: Layer,
    batch: int,
    name: str,
    dense: dict[str, Candidate],
    sparse: dict[Any, Candidate],
    operands: Operands,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Time dense and sparse candidates of one pass in turns; return a row for each sparse one."""
    times: dict[Any, Timing] = interleave(
        {**dense, **sparse},
        rounds=options.rounds,
        budget_seconds=options.budget,
        clock=CLOCKS[options.clock],
    )
    best = min(dense, key=lambda key: times[key].fastest)
    repeats = 1 if name != ALL else 2 if layer.first else 3
    rows = []
    for kind, sparsity in sparse:
        mine = times[kind, sparsity]
        kept = int(operands.masks[sparsity].sum())
        rows.append(
            {
                "layer": layer.name,
                "batch": batch,
                "threads": options.threads,
                "clock": options.clock,
                "sparsity": sparsity,
                "pass": name,
                "kind": kind,
                "seconds": float(f"{mine.fastest:.4g}"),
                "spread": round(max(mine.spread, times[best].spread), 3),
                "dense": best,
                "dense_seconds": float(f"{times[best].fastest:.4g}"),
                "ratio": round(times[best].fastest / mine.fastest, 4),
                "gflops": round(repeats * layer.flops(batch, kept) / mine.fastest * 1e-9, 2),
            }
        )
    return rows


def check(
    candidate: CoreCandidate, passes: dict[str, Candidate], operands: Operands, sparsity: float
) -> None:
    """Compare all three passes with float64; of large batches, the last samples, where tails are."""
    layer, batch = operands.layer, operands.batch
    samples = slice(max(0, batch - 33), batch)
    mask = operands.masks[sparsity]
    height, width = layer.out_size

    def hold(what: str, got: Tensor, exact: Tensor, terms: int) -> None:
        # Sums of n random terms round to about sqrt(n) units; 8 covers the largest of many results.
        limit = 8 * 2**-24 * max(terms, 16) ** 0.5
        error = ((got - exact).abs().max() / exact.abs().max()).item() if exact.numel() else 0.0
        if not error <= limit:
            raise SystemExit(
                f"{what} of {layer.name}, batch {batch}, sparsity {sparsity}: error {error:.2g} > {limit:.2g}"
            )

    passes[FORWARD]()
    exact = operands.exact_output(sparsity, samples)
    hold(FORWARD, candidate.unlay(candidate.output)[samples], exact, mask[0].numel())
    if not layer.first:
        passes[BACKWARD_INPUT]()
        exact = operands.exact_grad_input(sparsity, samples)
        hold(BACKWARD_INPUT, candidate.unlay(candidate.grad_input)[samples], exact, mask[:, 0].numel())
    passes[BACKWARD_WEIGHT]()
    terms = batch * height * width
    hold(BACKWARD_WEIGHT, candidate.grad_values, operands.exact_grad_weight[mask], terms)
    hold("gradient to the bias", candidate.grad_bias, operands.grad_output.double().sum((0, 2, 3)), terms)


if __name__ == "__main__":
    main()
