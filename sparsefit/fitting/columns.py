"""Which column of a table means what: batch size, steps, optional ones, and what splits rows into groups."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsefit.errors import InputError
from sparsefit.fitting.cells import plain, refuse_thousands, settings

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = ("batch_size", "bs", "b", "batchsize")
STEPS = (
    *("steps", "step", "iteration", "iterations", "global_step"),
    *("steps_to_result", "steps_to_goal", "steps_to_target", "goal_step"),
)
OPTIONAL = {
    "eval_interval": ("eval_interval", "evaluation_interval", "check_interval", "eval_every"),
    "status": ("status",),
    "outcome": ("reached", "converged", "success", "goal_reached", "reached_goal"),
    "trial": ("trial", "trial_id"),
    "trials": ("trials",),
    "replicate": ("replicate", "replicate_id", "repeat", "rep", "seed"),
    "max_steps": ("max_steps", "train_steps", "step_budget"),
    "unfinished": ("unfinished",),
}
STEPS_TOO = ("max_steps", "eval_interval")
YES, NO = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
IDENTITY = re.compile(
    r"(workload|task|dataset|data_set|model|model_size|architecture|network|optimizer|optimiser|schedule|lr_schedule"
    r"|(?!.*(step|iteration))(.+_)?(goal|target)(_.+)?|sparsity|pruning|metric|unit|comparison)"
)
PREFIX = re.compile(r"(params|config|hparams|hyperparameters)[._/]")
"""What trackers of experiments put before the names of settings."""

METAPARAMETER = re.compile(
    rf"({PREFIX.pattern})?"
    r"((initial_|base_|peak_|max_|min_)?(learning_rate|lr)|eta|end_learning_rate_factor|decay_steps|warmup(_steps|_ratio)?"
    r"|momentum|beta_?[12]|(adam_)?eps(ilon)?|weight_decay|wd|l2|dropout|label_smoothing|(grad(ient)?_)?clip(_norm)?)"
)
"""Columns whose values together are the setting of a row; numbers in them never split the rows unasked."""

NO_RESULT = re.compile(r".*accum.*|.*(eval|logging|log|save|warmup|decay)_(steps|iterations)")
"""Numbers of steps that are settings."""
FUZZY_BATCH, FUZZY_STEPS = re.compile(r"batch_?size"), re.compile(r"(^|_)(steps|iterations)(_|$)")


@dataclass(frozen=True)
class Columns:
    """Names of columns by their meaning.

    Attributes
    ----------
    batch_size, steps : str
    optional : dict
        Name by meaning (the keys of ``OPTIONAL``) for the optional columns that are there.
    by : tuple of str
        Columns that split the rows into groups.
    ignored : tuple of str
    metaparameters : tuple of str
        Columns whose values together are the setting of a row.
    by_setting : bool
        Rows without a trial tried several settings at one batch size: each setting is then a trial.
    """

    batch_size: str
    steps: str
    optional: dict[str, str]
    by: tuple[str, ...]
    ignored: tuple[str, ...]
    metaparameters: tuple[str, ...] = ()
    by_setting: bool = False

    @property
    def guessed(self) -> tuple[str, ...]:
        """Columns of `by` that no name tells: text whose every value spans batch sizes, unless asked for."""
        return tuple(name for name in self.by if not IDENTITY.fullmatch(normalise(name)))


def normalise(name: str) -> str:
    """Return a name in lower case with single underscores for spaces and hyphens."""
    return re.sub(r"[\s_\-]+", "_", name.strip().lower())


def value_of(group: Mapping[str, Any], *names: str) -> Any:
    """Return the value of the first column that has one of the names, however it is written; None without."""
    return next((value for name, value in group.items() if normalise(name) in names), None)


def find_columns(
    table: pd.DataFrame,
    *,
    by: Sequence[str] | None = None,
    batch_column: str | None = None,
    steps_column: str | None = None,
) -> Columns:
    """Return what each column of a table of text means.

    Raises
    ------
    InputError
        A column is missing, or several could be meant.
    """
    names = [str(name) for name in table.columns]
    batch = pick(table, batch_column, BATCH_SIZE, FUZZY_BATCH, "batch size", "--batch-column")
    steps = pick(table, steps_column, STEPS, FUZZY_STEPS, "steps", "--steps-column", exclude=batch)
    if batch == steps:
        raise InputError(f"the column {batch!r} cannot be both batch size and steps; give two columns")
    taken = {batch, steps}
    optional: dict[str, str] = {}
    for meaning, aliases in OPTIONAL.items():
        found = [name for name in names if normalise(name) in aliases and name not in taken]
        if meaning == "outcome":
            found = [name for name in found if says_yes_or_no(table, name)]
        if len(found) > 1:
            raise InputError(
                f"the columns {listed(found)} could all be {meaning!r}; rename or drop all but one"
            )
        if found:
            optional[meaning] = found[0]
            taken.add(found[0])
    refuse_thousands(table, [batch, steps, *(optional[key] for key in STEPS_TOO if key in optional)])
    rest = [name for name in names if name not in taken]
    if by is not None:
        chosen = tuple(match(name, names, "--by") for name in by)
        clash = [name for name in chosen if name in (batch, steps)]
        if clash:
            raise InputError(f"--by: {clash[0]!r} is the batch size or the steps, which cannot group rows")
        optional = {meaning: name for meaning, name in optional.items() if name not in chosen}
    else:
        chosen = tuple(name for name in rest if groups(table, name, batch))
    rest = [name for name in rest if name not in chosen]
    known = [name for name in rest if METAPARAMETER.fullmatch(normalise(name))]
    by_setting = bool(known) and several(table, [*chosen, batch], known, optional.get("trial"))
    ignored = [name for name in rest if not (by_setting and name in known)]
    return Columns(batch, steps, optional, chosen, tuple(ignored), tuple(known), by_setting)


def says_yes_or_no(table: pd.DataFrame, name: str) -> bool:
    """Tell whether all cells are a yes or a no; where a row is of several trials they may be counts."""
    if any(
        normalise(other) in (*OPTIONAL["trials"], *OPTIONAL["status"]) for other in map(str, table.columns)
    ):
        return False
    return bool(table[name].str.lower().isin((*YES, *NO)).all())


def several(table: pd.DataFrame, study: list[str], known: list[str], trial: str | None) -> bool:
    """Tell whether rows of one study that name no trial differ in their metaparameters."""
    rows = table if trial is None else table[table[trial] == ""]
    rows = rows[study].apply(plain).assign(**{"": settings(rows, known)})
    return bool(rows.drop_duplicates().duplicated(study).any())


def pick(
    table: pd.DataFrame,
    given: str | None,
    aliases: Sequence[str],
    fuzzy: re.Pattern[str],
    meaning: str,
    option: str,
    exclude: str | None = None,
) -> str:
    """Return the column that was named, else the one alias, else the one column whose name contains it."""
    names = [str(name) for name in table.columns]
    if given is not None:
        return match(given, names, option)
    exact = [name for name in names if normalise(name) in aliases and name != exclude]
    exact = [name for name in exact if normalise(name) == aliases[0]] or exact
    loose = [name for name in names if fuzzy.search(normalise(name)) and name != exclude]
    settings_ = {alias for aliases_ in OPTIONAL.values() for alias in aliases_}
    loose = [name for name in loose if PREFIX.sub("", normalise(name), count=1) not in settings_]
    loose = [name for name in loose if not METAPARAMETER.fullmatch(normalise(name))]
    loose = [name for name in loose if not NO_RESULT.fullmatch(normalise(name))]
    found = exact or loose
    if not found:
        raise InputError(
            f"no {meaning} column: got {listed(names)}, allowed {', '.join(aliases)}; "
            f"name yours with {option}"
        )
    if len(found) > 1:
        raise InputError(f"the columns {listed(found)} could all be the {meaning}; choose one with {option}")
    return found[0]


def match(given: str, names: Sequence[str], option: str) -> str:
    """Return the column of that name, tolerant of case, spaces and hyphens where that is unambiguous."""
    if given in names:
        return given
    found = [name for name in names if normalise(name) == normalise(given)]
    if len(found) != 1:
        raise InputError(f"{option}: got {given!r}, allowed are the columns {listed(names)}")
    return found[0]


def groups(table: pd.DataFrame, name: str, batch: str) -> bool:
    """Tell whether a column splits the rows: a known name, or text whose every value spans batch sizes."""
    import pandas as pd

    column = table[name]
    if IDENTITY.fullmatch(normalise(name)):
        return True
    if name == "" or name.startswith("Unnamed:") or (column == "").any():
        return False
    if METAPARAMETER.fullmatch(normalise(name)):
        column = column.str.replace(",", ".", regex=False)
    if bool(pd.to_numeric(column, errors="coerce").notna().any()):
        return False
    return bool(table.groupby(column)[batch].nunique().min() > 1)


def listed(names: Sequence[str]) -> str:
    """Return names in quotes, the first twelve of many."""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(repr(name) for name in names[:12]) + more
