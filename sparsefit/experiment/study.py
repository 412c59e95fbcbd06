"""What a sweep is: a workload, its studies (batch sizes × sparsities), their trials, and how they are run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from sparsefit.errors import InputError
from sparsefit.experiment.records import Study

if TYPE_CHECKING:
    from sparsefit.experiment.workload import Workload

BACKENDS = ("sparse", "dense")


@dataclass(frozen=True)
class Definition:
    """Everything that decides the outcome of a sweep.

    Attributes
    ----------
    workload : Workload
    batch_sizes : tuple of int
        Ascending.
    sparsities : tuple of float
        Ascending; shares of zeros in [0, 1).
    trials : int
        Per study.
    cap : bool
        Stop a trial at the best step of its study; False is the paper's full protocol.
    curves : bool
        Evaluate the whole validation set at every check and keep the curves.
    backend : str
        ``sparse``: the layers of `sparsefit.conv`; ``dense``: torch's layers with masked weights.
        They differ in rounding.
    """

    workload: Workload
    batch_sizes: tuple[int, ...]
    sparsities: tuple[float, ...]
    trials: int
    cap: bool = True
    curves: bool = False
    backend: str = "sparse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch_sizes", tuple(sorted(set(self.batch_sizes))))
        object.__setattr__(self, "sparsities", tuple(sorted(set(self.sparsities))))
        if not self.batch_sizes or self.batch_sizes[0] < 1:
            raise InputError(f"batch sizes must be 1 or more, got {list(self.batch_sizes)}")
        if not self.sparsities:
            raise InputError("no sparsity was given; 0 is the dense model")
        from sparsefit.experiment.workload import check_sparsity

        for sparsity in self.sparsities:
            check_sparsity(sparsity)
        if self.trials < 1:
            raise InputError(f"a study needs at least one trial, got {self.trials}")
        if self.backend not in BACKENDS:
            raise InputError(f"unknown backend {self.backend!r}; allowed: {', '.join(BACKENDS)}")

    def check_batch_sizes(self, n_examples: int) -> None:
        """Refuse batches that are larger than the `n_examples` to train on."""
        too_large = [size for size in self.batch_sizes if size > n_examples]
        if too_large:
            raise InputError(
                f"batch size {too_large[0]} is larger than the training set of {self.workload.dataset}, "
                f"which has {n_examples} examples without the validation set"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts, numbers and strings; `from_dict` takes them back."""
        workload = self.workload.to_dict()
        workload.pop("description")
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "workload"}
        return {
            "workload": workload,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in own.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        from sparsefit.experiment import workload

        own: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        own["workload"] = workload.from_dict(content["workload"])
        return cls(**own)

    def settings(self) -> list[dict[str, float]]:
        """Return the metaparameters of every trial."""
        from sparsefit.experiment.metaparameters import sobol

        return sobol(self.workload, self.trials)


def studies(content: dict[str, Any]) -> list[Study]:
    """Return the grid of a sweep from its definition as a dictionary."""
    return [Study(sparsity, size) for sparsity in content["sparsities"] for size in content["batch_sizes"]]


def fingerprint(content: dict[str, Any]) -> str:
    """Return the SHA-256 that names a sweep; the order of the search space (the Sobol axes) counts."""
    return fingerprint_of_text(json.dumps(content))


def fingerprint_of_text(text: str) -> str:
    """Return the same from the definition as it is stored."""
    return hashlib.sha256(text.encode()).hexdigest()


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Say in which fields two definitions differ; empty if they are equal."""
    ours = {**ours["workload"], **ours, "workload": None}
    theirs = {**theirs["workload"], **theirs, "workload": None}
    names = [name for name in ours if json.dumps(ours[name]) != json.dumps(theirs.get(name))]
    return "; ".join(f"{name}: {theirs.get(name)} there, {ours[name]} here" for name in names)


def parse_batch_sizes(text: str) -> tuple[int, ...]:
    """Read ``16:2048`` (the powers of 2 in that range) or a list like ``16,64,100``.

    Raises
    ------
    InputError
        Something else.
    """
    sizes: list[int] = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        try:
            low, high = int(first), int(last if colon else first)
        except ValueError:
            raise InputError(
                f"batch sizes are numbers like 16,64,100 or a range of powers of 2 like 16:2048; got {text!r}"
            ) from None
        if low < 1:
            raise InputError(f"batch sizes must be 1 or more; got {part.strip()!r}")
        found = [low] if not colon else [1 << n for n in range(high.bit_length()) if low <= 1 << n <= high]
        if not found:
            raise InputError(f"the range of batch sizes {part.strip()!r} holds no power of 2")
        sizes += found
    return tuple(sizes)


def parse_sparsities(text: str) -> tuple[float, ...]:
    """Read a list like ``0,0.5,0.9``.

    Raises
    ------
    InputError
        Not numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"sparsities are shares of zeros like 0,0.5,0.9; got {text!r}") from None
