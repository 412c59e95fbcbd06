"""Sparse kernels or dense convolution: which is faster for this layer, this pass and this batch.

With the backend "auto" both are timed the first time that a layer meets a batch size, on the operands at
hand, and the winner is kept for the life of the process. Sparse must win by a margin, as in libxsmm's policy,
so that noise cannot make a layer slower than dense. On a GPU nothing is timed, which would wait for the
device: there the density decides (``cuda.CROSSOVER``). The two agree up to rounding only: where bits matter,
name a backend, or restore the choices of an earlier run with ``restore_choices``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from sparsefit.conv import cuda
from sparsefit.conv.backend import handles, load_core
from sparsefit.conv.geometry import Geometry
from sparsefit.errors import InputError

BACKENDS = ("auto", "sparse", "dense")
MARGIN = 0.95
"""Sparse is chosen when it takes less than this share of dense's time."""
ROUNDS = 3

_Result = TypeVar("_Result")


class Call(NamedTuple):
    """One pass of one layer: direction, geometry, input (H, W), samples if blocked, kept weights."""

    direction: str
    geometry: Geometry
    size: tuple[int, int]
    n: int | None
    nnz: int


@dataclass(frozen=True)
class Situation:
    """What a choice depends on.

    ``batch`` is the batch size rounded up to a power of two, ``density`` the share of kept weights to two
    digits, ``layout`` "contiguous", "channels_last", "strided" or "blocked".
    """

    direction: str
    geometry: Geometry
    size: tuple[int, int]
    batch: int
    density: float
    layout: str
    threads: int
    isa: str


@dataclass(frozen=True)
class Choice:
    """The backend chosen in a situation, and the seconds that each took, or None if neither was measured."""

    situation: Situation
    backend: str
    sparse_seconds: float | None
    dense_seconds: float | None

    def __str__(self) -> str:
        at, g = self.situation, self.situation.geometry
        reason = "by its density"
        if self.sparse_seconds is not None and self.dense_seconds is not None:
            reason = f"sparse {1e6 * self.sparse_seconds:.0f} µs, dense {1e6 * self.dense_seconds:.0f} µs"
        return (
            f"{at.direction:<15} {g.c_in:>4} → {g.c_out:<4} {g.kh}×{g.kw} on {at.size[0]}×{at.size[1]}, "
            f"batch ≤ {at.batch}, {100 * (1 - at.density):.0f} % zeros, {at.layout}, {at.threads} threads: "
            f"{self.backend} ({reason})"
        )


_backend = "auto"
_choices: dict[Situation, Choice] = {}


def check_backend(name: str) -> str:
    """Return the name if it is a backend."""
    if name not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
    return name


def set_backend(name: str) -> None:
    """Set the backend of every layer that has none of its own: "auto", "sparse" or "dense"."""
    global _backend
    _backend = check_backend(name)


def get_backend() -> str:
    """Return the backend of layers that have none of their own."""
    return _backend


def choices() -> list[Choice]:
    """Return what "auto" has chosen so far in this process, in the order of choosing."""
    return list(_choices.values())


def restore_choices(made: Iterable[Choice]) -> None:
    """Forget all choices and take these instead, for example those of an earlier run."""
    made = list(made)
    _choices.clear()
    _choices.update((choice.situation, choice) for choice in made)


def run(
    call: Call, backend: str, operand: Tensor, sparse: Callable[[], _Result], dense: Callable[[], _Result]
) -> _Result:
    """Return sparse() or dense(), as the backend, the device and the dtype of the operand want it."""
    if autocast_is_on(operand.device.type):
        with torch.autocast(operand.device.type, enabled=False):  # it would cast within the reference
            return run(call, backend, operand, sparse, dense)
    if backend == "dense":
        return dense()
    if not handles(operand):
        if backend == "sparse" and cuda.is_on(operand) and operand.dtype == torch.float32:
            cuda.refuse(load_core(), operand.device)
        return dense()
    if backend == "sparse":
        return sparse()
    situation = _situation(call, operand)
    choice = _choices.get(situation)
    if choice is None:
        on_gpu = cuda.is_on(operand)
        choice = _by_density(situation) if on_gpu else _measure(situation, sparse, dense)
        _choices[situation] = choice
    return sparse() if choice.backend == "sparse" else dense()


def autocast_is_on(device_type: str) -> bool:
    """Whether torch would cast the operands of its own convolutions now."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def _situation(call: Call, operand: Tensor) -> Situation:
    samples = operand.shape[0] if call.n is None else call.n
    return Situation(
        call.direction,
        call.geometry,
        call.size,
        1 << max(samples - 1, 0).bit_length(),
        round(call.nnz / call.geometry.weight_count, 2),
        _layout(operand, call.n),
        *_processor(call, operand),
    )


def _processor(call: Call, operand: Tensor) -> tuple[int, str]:
    if not cuda.is_on(operand):
        return torch.get_num_threads(), load_core().isa()
    is_linear = call.geometry[2:4] == (1, 1) and call.size == (1, 1)
    return 1, "cuda, dense in TF32" if cuda.uses_tf32(is_linear) else "cuda"


def _by_density(situation: Situation) -> Choice:
    wins = situation.density < (cuda.CROSSOVER if situation.isa == "cuda" else cuda.CROSSOVER_TF32)
    return Choice(situation, "sparse" if wins else "dense", None, None)


def _measure(situation: Situation, sparse: Callable[[], object], dense: Callable[[], object]) -> Choice:
    best = {"sparse": float("inf"), "dense": float("inf")}
    for turn in range(1 + ROUNDS):
        for name, call in (("sparse", sparse), ("dense", dense)):
            start = time.perf_counter()
            call()
            if turn > 0:  # the first round warms caches up and lets torch make its primitives
                best[name] = min(best[name], time.perf_counter() - start)
    winner = "sparse" if best["sparse"] < MARGIN * best["dense"] else "dense"
    return Choice(situation, winner, best["sparse"], best["dense"])


def _layout(operand: Tensor, n: int | None) -> str:
    if n is not None:
        return "blocked"
    if operand.is_contiguous():
        return "contiguous"
    return "channels_last" if operand.is_contiguous(memory_format=torch.channels_last) else "strided"
