"""kernels.py --device cuda: every pass on a GPU, against dense torch with TF32 off and on.

Times are between CUDA events around many calls: the cost of a launch counts only where it cannot be hidden.
It is ready to run and has not been run on a GPU yet.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from candidates import ALL, BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD, PASSES, Candidate, dense_passes
from layers import Layer, Operands
from rich.console import Console
from rich.table import Table
from timing import provenance, write_json
from torch import Tensor

from sparsefit import _core
from sparsefit.conv import from_blocked, kernels, to_blocked
from sparsefit.conv.blocked import Blocked
from sparsefit.conv.call import Call
from sparsefit.conv.cuda import missing
from sparsefit.conv.geometry import Geometry
from sparsefit.conv.packed import pattern

FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
SAMPLE_MILLISECONDS = 5.0
HEADER = ("layer", "batch", "sparsity", "pass", "µs", "GFLOP/s", "over float32", "over TF32", "spread")


def run_on_gpu(layers: list[Layer], options: argparse.Namespace, console: Console) -> None:
    """Measure all layers, print a table, and write the rows to ``options.json`` if it is given."""
    unseen = "" if torch.cuda.is_available() else "torch sees no CUDA device"
    if lacking := _core.cuda_unavailable() or unseen or missing(_core, 0):
        raise SystemExit(f"--device cuda: {lacking}")
    (device, *_) = _core.cuda_devices()
    title = {
        **provenance(),
        "device": device,
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
    }
    console.print(", ".join(f"{key} {value}" for key, value in title.items()))
    rows = []
    for layer in layers:
        for batch in options.batch_sizes:
            rows += measure(layer, batch, options, "cuda", milliseconds)
            if options.json:
                write_json(options.json, {**title, "rows": rows})
    table = Table(*HEADER, title=device)
    for row in rows:
        table.add_row(
            *(f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for key in HEADER)
        )
    console.print(table)


def measure(
    layer: Layer,
    batch: int,
    options: argparse.Namespace,
    device: str,
    clock: Callable[[Candidate, int], float],
) -> list[dict[str, Any]]:
    """Check, then time, every pass of one layer; return a row for each sparsity and pass."""
    operands = Operands(layer, batch, options.sparsities)
    sparse = {sparsity: checked_passes(operands, sparsity, device) for sparsity in options.sparsities}
    moved = Operands(layer, batch, options.sparsities)
    moved.input, moved.grad_output = moved.input.to(device), moved.grad_output.to(device)
    moved.weight, moved.bias = moved.weight.to(device), moved.bias.to(device)
    dense = {name: dense_passes(moved, form) for name, form in FORMATS.items()}
    rows = []
    for name in PASSES:
        if layer.first and name == BACKWARD_INPUT:
            continue
        ours = {sparsity: passes[name] for sparsity, passes in sparse.items()}
        times: dict[bool, dict[Any, tuple[float, float]]] = {}
        for tf32 in (False, True):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            rivals = {form: passes[name] for form, passes in dense.items()}
            # benchmark: dense convolution by the fastest of cuDNN's algorithms
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tf32):
                times[tf32] = interleave({**rivals, **ours}, options.rounds, clock)
        best = {tf32: min(taken[form][0] for form in FORMATS) for tf32, taken in times.items()}
        repeats = 1 if name != ALL else 2 if layer.first else 3
        for sparsity in ours:
            fastest, spread = min(taken[sparsity] for taken in times.values())
            kept = int(operands.masks[sparsity].sum())
            rows.append(
                {
                    "layer": layer.name,
                    "batch": batch,
                    "sparsity": sparsity,
                    "pass": name,
                    "µs": 1e3 * fastest,
                    "GFLOP/s": repeats * layer.flops(batch, kept) / fastest * 1e-6,
                    "over float32": best[False] / fastest,
                    "over TF32": best[True] / fastest,
                    "spread": spread,
                }
            )
    return rows


def checked_passes(operands: Operands, sparsity: float, device: str) -> dict[str, Candidate]:
    """Return the passes on blocked operands, after a comparison of each with float64 on the CPU."""
    layer, batch, mask = operands.layer, operands.batch, operands.masks[sparsity]
    geometry = Geometry(
        *layer.weight_shape, layer.stride, layer.stride, *(layer.pad_before, layer.pad_after) * 2
    )
    values, bias = operands.weight[mask].to(device), operands.bias.to(device)
    positions = mask.flatten().nonzero().flatten().to(device)
    call = Call(positions, pattern(mask, 1).to(device), geometry, batch, "sparse")
    x, grad = to_blocked(operands.input.to(device)).data, to_blocked(operands.grad_output.to(device)).data
    call.size(x.shape)

    def forward() -> Tensor:
        return kernels.forward(call, x, values, bias)

    def backward_input() -> Tensor:
        return kernels.backward_input(call, grad, values)

    def backward_weight() -> tuple[Tensor, Tensor]:
        grad_values, grad_bias = kernels.backward_weight(call, x, grad, True)
        assert grad_bias is not None
        return grad_values, grad_bias

    def everything() -> None:
        forward()
        if not layer.first:
            backward_input()
        backward_weight()

    last = slice(max(0, batch - 33), batch)
    pixels = batch * layer.out_size[0] * layer.out_size[1]
    hold(
        from_blocked(Blocked(forward(), batch))[last], operands.exact_output(sparsity, last), mask[0].numel()
    )
    got = from_blocked(Blocked(backward_input(), batch))[last]
    hold(got, operands.exact_grad_input(sparsity, last), mask[:, 0].numel())
    grad_values, grad_bias = backward_weight()
    hold(grad_values, operands.exact_grad_weight[mask], pixels)
    hold(grad_bias, operands.grad_output.double().sum((0, 2, 3)), pixels)
    return {
        FORWARD: forward,
        BACKWARD_INPUT: backward_input,
        BACKWARD_WEIGHT: backward_weight,
        ALL: everything,
    }


def hold(got: Tensor, exact: Tensor, terms: int) -> None:
    """Stop unless a result is what rounding of its sums allows, as in kernels.py."""
    limit = 8 * 2**-24 * max(terms, 16) ** 0.5
    error = ((got.cpu() - exact).abs().max() / exact.abs().max()).item() if exact.numel() else 0.0
    if not error <= limit:
        raise SystemExit(f"wrong result: error {error:.2g} > {limit:.2g} in a sum of {terms} terms")


def interleave(
    candidates: dict[Any, Candidate], rounds: int, clock: Callable[[Candidate, int], float]
) -> dict[Any, tuple[float, float]]:
    """Time candidates in turns; return the fastest milliseconds of a call and the spread of each."""
    calls = {}
    for name, candidate in candidates.items():
        clock(candidate, 3)  # warm-up: cuDNN's choice of algorithm, clocks, memory
        calls[name] = max(1, round(SAMPLE_MILLISECONDS / max(clock(candidate, 3), 1e-4)))
    samples: dict[Any, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            samples[name].append(clock(candidate, calls[name]))
    return {name: (min(taken), statistics.median(taken) / min(taken) - 1) for name, taken in samples.items()}


def milliseconds(candidate: Candidate, calls: int) -> float:
    """Return the milliseconds of a call between two events on the current stream."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(calls):
        candidate()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / calls
