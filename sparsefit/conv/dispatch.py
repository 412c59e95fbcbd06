"""Sparse kernels or dense convolution: which is faster for this layer, this pass and this batch.

With the backend "auto" both are timed the first time that a layer meets a batch size, on the operands at
hand, and the winner is kept for the life of the process. Sparse must take less than ``MARGIN`` of dense's
time, as in libxsmm's policy, so that noise does not choose it; it is given ``DENSE_EXTRA``, by which dense is
slower in training than where it is timed, so below 200 µs sparse may be chosen although it was timed slower.
On a GPU nothing is timed, which would wait for the device: the density decides there (``cuda.CROSSOVER``).
The two agree up to rounding only: where bits matter, name a backend, or restore the choices of an earlier run
with ``restore_choices``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from sparsefit.conv import cuda
from sparsefit.conv.call import Call, Problem, problem
from sparsefit.conv.geometry import Geometry
from sparsefit.conv.kernels import handles, load_core
from sparsefit.errors import InputError

BACKENDS = ("auto", "sparse", "dense")
MARGIN = 0.95
"""Sparse is chosen when it takes less than this share of dense's time, and `DENSE_EXTRA`."""
DENSE_EXTRA = 1e-5
"""Seconds that a dense pass takes longer in training than in the loop that measures it: it calls more of
torch's operators, and in a layer of microseconds each finds the caches full of other code."""
ROUNDS, SECONDS = 3, 5e-3
"""Least rounds, and how long more are taken: what takes microseconds is easily disturbed."""

_Result = TypeVar("_Result")


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
    for choice in made:
        if not isinstance(choice, Choice) or choice.backend not in BACKENDS[1:]:
            raise InputError(f"restore_choices takes what choices() returned, got {choice!r}")
    _choices.clear()
    problem.cache_clear()
    _choices.update((choice.situation, choice) for choice in made)


def run(
    direction: str,
    call: Call,
    operand: Tensor,
    sparse: Callable[..., _Result],
    dense: Callable[..., _Result],
    arguments: tuple,
) -> _Result:
    """Return sparse(call, *arguments) or dense(…), as backend, device and dtype of the operand want it.

    Parameters
    ----------
    direction : {"forward", "backward_input", "backward_weight"}
        The pass.
    call : Call
        The layer and the sizes of this batch.
    operand : Tensor
        Input or gradient to the output, whose device, dtype and layout decide.
    sparse, dense : callable
        The pass in kernels and in torch; both take the call and the arguments.
    arguments : tuple

    Raises
    ------
    CudaError
        Sparse kernels were asked for on a GPU and there are none for it.
    """
    if _takes_sparse(direction, call, operand, sparse, dense, arguments):
        return sparse(call, *arguments)
    if autocast_is_on(operand):
        with torch.autocast(operand.device.type, enabled=False):  # it would cast within the reference
            return dense(call, *arguments)
    return dense(call, *arguments)


def autocast_is_on(operand: Tensor) -> bool:
    """Whether torch would cast the operands of its own convolutions now."""
    if operand.is_cpu:
        return torch.is_autocast_enabled("cpu")
    device_type = operand.device.type
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def _takes_sparse(
    direction: str, call: Call, operand: Tensor, sparse: Callable, dense: Callable, arguments: tuple
) -> bool:
    if call.backend == "dense" or direction in call.sized.dense_only:
        return False
    on_gpu = cuda.is_on(operand)
    if not handles(operand):
        if call.backend == "sparse" and on_gpu and operand.dtype == torch.float32:
            cuda.refuse(load_core(), operand.device)
        return False
    if call.backend == "sparse":
        return True
    sized = call.sized
    if on_gpu:
        situation = _situation(direction, call, operand, *_gpu(sized))
        choice = _choices.get(situation) or _by_density(situation)
        _choices[situation] = choice
        return choice.backend == "sparse"
    key = (direction, _layout(operand, call.n), torch.get_num_threads())
    taken = sized.chosen.get(key)
    if taken is None:
        situation = _situation(direction, call, operand, key[2], load_core().isa())
        if situation not in _choices:
            with torch.autocast("cpu", enabled=False):
                _choices[situation] = _measure(
                    situation, call, partial(sparse, call, *arguments), partial(dense, call, *arguments)
                )
        taken = sized.chosen[key] = _choices[situation].backend == "sparse"
    return taken


def _situation(direction: str, call: Call, operand: Tensor, threads: int, processor: str) -> Situation:
    sized = call.sized
    return Situation(
        direction,
        call.geometry,
        sized.size,
        1 << max(sized.samples - 1, 0).bit_length(),
        round(sized.density, 2),
        _layout(operand, call.n),
        threads,
        processor,
    )


def _gpu(sized: Problem) -> tuple[int, str]:
    is_linear = sized.geometry[2:4] == (1, 1) and sized.size == (1, 1)
    return 1, "cuda, dense in TF32" if cuda.uses_tf32(is_linear) else "cuda"


def _by_density(situation: Situation) -> Choice:
    wins = situation.density < (cuda.CROSSOVER if situation.isa == "cuda" else cuda.CROSSOVER_TF32)
    return Choice(situation, "sparse" if wins else "dense", None, None)


def _measure(
    situation: Situation, call: Call, sparse: Callable[[], object], dense: Callable[[], object]
) -> Choice:
    has_weight = call.has_dense_weight  # of the forward pass, if that is dense

    def dense_anew() -> object:
        if not has_weight:
            call.forget_dense_weight()
        return dense()

    calls = {"sparse": sparse, "dense": dense_anew}
    best = dict.fromkeys(calls, float("inf"))
    for run_it in calls.values():  # warms caches up and lets torch make its primitives
        run_it()
    rounds, spent = 0, 0.0
    while rounds < ROUNDS or spent < SECONDS:
        for name, run_it in calls.items():
            start = time.perf_counter()
            run_it()
            taken = time.perf_counter() - start
            best[name] = min(best[name], taken)
            spent += taken
        rounds += 1
    if not has_weight:
        call.forget_dense_weight()
    winner = "sparse" if best["sparse"] < MARGIN * best["dense"] + DENSE_EXTRA else "dense"
    return Choice(situation, winner, best["sparse"], best["dense"])


def _layout(operand: Tensor, n: int | None) -> str:
    if n is not None:
        return "blocked"
    if operand.is_contiguous():
        return "contiguous"
    return "channels_last" if operand.is_contiguous(memory_format=torch.channels_last) else "strided"
