"""Workloads: data set, model, optimizer, goal and search space, read from TOML files."""

from __future__ import annotations

import sys
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from importlib import resources
from math import ceil, floor, inf, nextafter
from pathlib import Path
from typing import Any

from sparsefit.errors import InputError
from sparsefit.experiment.data import DATASETS
from sparsefit.experiment.metaparameters import Range
from sparsefit.experiment.model import MODELS
from sparsefit.experiment.optimizer import RULES, SCHEDULES, needed
from sparsefit.experiment.prune import METHODS, SCOPES, check_sparsity

BUILT_IN = resources.files("sparsefit.experiment") / "workloads"

ENDS = {
    "learning_rate": (sys.float_info.min, inf, "numbers above 0"),
    "momentum": (0.0, nextafter(1.0, 0.0), "0 up to, not including, 1"),
    "decay_steps": (1, inf, "1 or more"),
    "end_learning_rate_factor": (0.0, 1.0, "0 to 1"),
}
"""Least and largest value of each metaparameter, and both in words."""

CHOICES: dict[str, tuple[str, ...]] = {
    "dataset": DATASETS,
    "optimizer": tuple(RULES),
    "schedule": tuple(SCHEDULES),
    "comparison": ("<=", "<"),
    "pruning": tuple(METHODS),
    "pruning_scope": SCOPES,
    "sampling": ("sobol", "scrambled-sobol"),
}
"""Keys whose value is one of a few words."""

MOST = 2**63 - 1
"""Largest whole number that the file of a sweep holds."""


@dataclass(frozen=True)
class Workload:
    """What is trained, how far, and over which metaparameters; a study adds batch size and sparsity.

    Attributes
    ----------
    name : str
    dataset, model, optimizer, schedule : str
        Names that `data.load` and `model.build` know; ``sgd``, ``momentum`` or ``nesterov``; ``constant`` or
        ``linear``.
    goal_error : float
        Validation error rate to reach.
    comparison : str
        ``<=`` as the release, ``<`` as Shallue.
    eval_interval, max_steps : int
        Steps between checks of the goal; steps after which a trial ends as not reached.
    search_space : mapping of str to Range
        In the order of the Sobol axes.
    batch_sizes, sparsities : tuple
        What a sweep runs unless told otherwise.
    trials : int
        Metaparameter settings tried in each study.
    pruning, pruning_scope, prune_biases
        Criterion at initialisation; all training batches or one; whether biases compete.
    sampling, sampling_seed
        ``sobol``: the release's points; ``scrambled-sobol``: scipy's, with the seed.
    """

    name: str
    dataset: str
    model: str
    optimizer: str
    schedule: str
    goal_error: float
    eval_interval: int
    max_steps: int
    search_space: dict[str, Range]
    batch_sizes: tuple[int, ...]
    comparison: str = "<="
    sparsities: tuple[float, ...] = (0.0, 0.5, 0.7, 0.9)
    trials: int = 100
    pruning: str = "snip"
    pruning_scope: str = "all"
    prune_biases: bool = True
    sampling: str = "sobol"
    sampling_seed: int = 0
    description: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        unfit = any(letter in "/\\" or unicodedata.category(letter) == "Cc" for letter in self.name)
        if not self.name.strip() or self.name.strip() == ".." or unfit:
            raise InputError(f"name: got {self.name!r}, allowed a word that can name a folder")
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise InputError(f"{key}: got {getattr(self, key)!r}, allowed {', '.join(allowed)}")
        if self.model not in MODELS and not all(self.model.partition(":")):
            raise InputError(
                f"model: got {self.model!r}, allowed {', '.join(MODELS)}, package.module:function"
            )
        if not 0 < self.goal_error < 1:
            raise InputError(f"goal_error: got {self.goal_error}, allowed an error rate above 0 and below 1")
        for key in ("eval_interval", "max_steps", "trials"):
            if not 1 <= getattr(self, key) <= MOST:
                raise InputError(f"{key}: got {getattr(self, key)}, allowed 1 to {MOST}")
        if self.sampling_seed < 0:
            raise InputError(f"sampling_seed: got {self.sampling_seed}, allowed 0 or more")
        if self.eval_interval > self.max_steps:
            raise InputError(
                f"eval_interval: got {self.eval_interval}, allowed 1 to max_steps ({self.max_steps}), "
                "or the goal would never be checked"
            )
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise InputError(
                f"batch_sizes: got {list(self.batch_sizes)}, allowed one or more, each at least 1"
            )
        for sparsity in self.sparsities:
            check_sparsity(sparsity)
        check_search_space(self.search_space, self.optimizer, self.schedule)

    def goal_count(self, n_validation: int) -> int:
        """Return the largest number of validation errors that meets the goal, computed without rounding.

        120 of 6,000 meet 0.02, 2,000 of 5,000 meet 0.4. For 0.12 of 6,000 this is 720, where the release's
        float32 mean gives 0.12000000477 and asks for 719: sparsefit can be one error more generous there.
        """
        exact = Fraction(str(self.goal_error)) * n_validation
        return floor(exact) if self.comparison == "<=" else ceil(exact) - 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts, numbers and strings; `from_dict` takes them back."""
        out = {f.name: getattr(self, f.name) for f in fields(self)}
        out["search_space"] = {name: dict(vars(range_)) for name, range_ in self.search_space.items()}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in out.items()}


def check_search_space(space: Mapping[str, Range], optimizer: str, schedule: str) -> None:
    """Refuse metaparameters other than those of the optimizer, and values that mean nothing."""
    expected = needed(optimizer, schedule)
    if set(space) != set(expected):
        raise InputError(
            f"search_space: got {', '.join(space) or 'nothing'}, "
            f"but {optimizer} with a {schedule} schedule has {', '.join(expected)}"
        )
    for name, range_ in space.items():
        least, most, words = ENDS[name]
        if not (least <= range_.ends[0] and range_.ends[1] <= most):
            raise InputError(
                f"search_space.{name}: got {range_.min_value:g} .. {range_.max_value:g}, allowed {words}"
            )


def names() -> list[str]:
    """Return the names of the built-in workloads."""
    return sorted(
        path.name.removesuffix(".toml") for path in BUILT_IN.iterdir() if path.name.endswith(".toml")
    )


def load(name_or_path: str | Path) -> Workload:
    """Read a built-in workload by its name, or a study file by its path.

    Raises
    ------
    InputError
        Unknown name, unreadable file, unknown or missing key, wrong type or value; the message names file,
        the key, what was got and what is allowed.
    """
    text = str(name_or_path)
    built_in = text.lower()
    if built_in in names():
        return parse(
            (BUILT_IN / f"{built_in}.toml").read_text(encoding="utf-8"), built_in, f"{built_in}.toml"
        )
    path = Path(text)
    if path.suffix != ".toml" and not path.exists():
        raise InputError(
            f"unknown workload {text!r}; known: {', '.join(names())}, or the path of a .toml file"
        )
    try:
        content = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return parse(content, path.stem, str(path))


def parse(text: str, name: str, where: str) -> Workload:
    """Make a workload of TOML text from the file `where`; `name` is its name unless the text has one."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not a TOML file: {error}") from error
    return from_dict({"name": name, **table}, where)


def from_dict(table: dict[str, Any], where: str = "workload") -> Workload:
    """Make a workload of what `Workload.to_dict` gave or TOML holds; `where` begins error messages."""
    known = {f.name: f for f in fields(Workload)}
    if unknown := [key for key in table if key not in known]:
        raise InputError(f"{where}: unknown key {unknown[0]!r}; allowed {', '.join(known)}")
    if missing := [key for key, f in known.items() if f.default is MISSING and key not in table]:
        raise InputError(f"{where}: the key {missing[0]!r} is missing")
    try:
        return Workload(**{key: convert(key, value, str(known[key].type)) for key, value in table.items()})
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


EXPECTED: dict[str, tuple[Any, str]] = {
    "str": (str, "a string"),
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
}


def convert(key: str, value: Any, kind: str) -> Any:
    """Return the value as the type that the field is annotated with, or refuse it."""
    if kind.startswith("tuple"):
        if not isinstance(value, list | tuple):
            raise InputError(f"{key}: got {value!r}, allowed a list")
        return tuple(convert(key, item, kind.removeprefix("tuple[").split(",")[0]) for item in value)
    if kind.startswith("dict"):
        return convert_space(key, value)
    types, words = EXPECTED[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        raise InputError(f"{key}: got {value!r}, allowed {words}")
    return float(value) if kind == "float" else value


def convert_space(key: str, value: Any) -> dict[str, Range]:
    """Make ranges of ``{name: {min_value, max_value, scale, type}}``."""
    if not isinstance(value, dict):
        raise InputError(f"{key}: got {value!r}, allowed a table of metaparameters")
    space = {}
    known = {f.name: f for f in fields(Range)}
    for name, table in value.items():
        where = f"{key}.{name}"
        if not isinstance(table, dict):
            raise InputError(f"{where}: got {table!r}, allowed a table with {', '.join(known)}")
        if unknown := [entry for entry in table if entry not in known]:
            raise InputError(f"{where}: unknown key {unknown[0]!r}; allowed {', '.join(known)}")
        if missing := [entry for entry, f in known.items() if f.default is MISSING and entry not in table]:
            raise InputError(f"{where}: the key {missing[0]!r} is missing")
        try:
            space[name] = Range(**{k: convert(k, v, str(known[k].type)) for k, v in table.items()})
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    return space
