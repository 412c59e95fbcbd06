"""All inputs of a report together: groups with names, steps-to-result, fits and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefit.errors import InputError
from sparsefit.fitting.claims import CATALOGUE
from sparsefit.fitting.claims_trend import universal_trend
from sparsefit.fitting.columns import find_columns
from sparsefit.fitting.decomposition import Decomposition
from sparsefit.fitting.ratios import number
from sparsefit.fitting.results import CurveFit, Ratio
from sparsefit.fitting.steps import measure_steps
from sparsefit.fitting.validation import validate
from sparsefit.fitting.validation_records import ValidationResult
from sparsefit.report.processes import start_processes
from sparsefit.report.source import COSTS, Source

if TYPE_CHECKING:
    import pandas as pd

ALONE = 3
"""Families up to which starting another process takes longer than it saves."""

BASE = ("batch_size", "steps", "max_steps", "eval_interval", "sparsity")


@dataclass(frozen=True)
class Workload:
    """The groups that differ in sparsity only.

    Attributes
    ----------
    name : str
        Unique among the workloads of a report.
    group : mapping
        What its rows have in common.
    source : Source
    trials : DataFrame
        One row a trial: ``sparsity, batch_size, trial, status, steps, max_steps``, metaparameters, costs.
        Empty if the input has steps-to-result only.
    steps : DataFrame
        One row a study: ``sparsity, batch_size, steps, censored, eval_interval``.
    fits : tuple of CurveFit
        By sparsity.
    ratios : tuple of Ratio
    """

    name: str
    group: Mapping[str, Any]
    source: Source
    trials: pd.DataFrame
    steps: pd.DataFrame
    fits: tuple[CurveFit, ...] = ()
    ratios: tuple[Ratio, ...] = ()


@dataclass(frozen=True)
class Material:
    """Everything that a report shows.

    Attributes
    ----------
    sources : tuple of Source
    workloads : tuple of Workload
    validation : ValidationResult
        Of all inputs as one table, with the fits.
    decompositions : mapping of str to Decomposition
        By path.
    """

    sources: tuple[Source, ...]
    workloads: tuple[Workload, ...]
    validation: ValidationResult
    decompositions: Mapping[str, Decomposition] = field(default_factory=dict)


def combine(
    sources: Sequence[Source],
    decompositions: Mapping[str, Decomposition],
    *,
    confidence: float = 0.95,
    processes: int = 1,
) -> Material:
    """Put all inputs into one table, fit and judge it, and split it into workloads.

    Parameters
    ----------
    sources : sequence of Source
    decompositions : mapping of str to Decomposition
        By path.
    confidence : float
    processes : int
        Among which the fits are divided.

    Raises
    ------
    InputError
        The same input stands twice, or no group of any input can be fitted.
    """
    import pandas as pd

    for i, source in enumerate(sources):
        twin = next((other for other in sources[:i] if other.sha256 == source.sha256), None)
        if twin is not None:
            raise InputError(f"{source.path} holds the same bytes as {twin.path}; give each input once")
    by = tuple(dict.fromkeys(name for source in sources for name in source.by if name != "sparsity"))
    by = ("workload", *(name for name in by if name != "workload"))
    frames = []
    origin: list[Source] = []
    taken: set[tuple[str, ...]] = set()
    for position, source in enumerate(sources, 1):
        # A column that does not split this input may split another one.
        kept = [name for name in source.cells if name in source.by or name not in (*by, "sparsity")]
        cells = source.cells[kept].reindex(columns=[*dict.fromkeys([*kept, *by, "sparsity"])], fill_value="")
        keys = set(cells[list(by)].itertuples(index=False, name=None))
        if taken & keys or not source.by:
            cells["workload"] = (cells["workload"] + f" ({Path(source.path).name} #{position})").str.strip()
        taken |= set(cells[list(by)].itertuples(index=False, name=None))
        frames.append(cells)
        origin += [source] * len(cells)
    table = pd.concat(frames, ignore_index=True).fillna("")
    split = [*by, "sparsity"] if (table["sparsity"] != "").any() else list(by)
    rest = [name for name in by if name not in ("workload", "optimizer")]
    families = [rows for _, rows in table.groupby(rest, sort=False)] if rest else [table]
    judge = partial(
        judge_family, decompositions=tuple(decompositions.values()), by=split, confidence=confidence
    )
    if processes > 1 and len(families) > ALONE:
        with start_processes(processes) as pool:
            validation = merge(list(pool.map(judge, families)))
    else:
        validation = merge([judge(family) for family in families])
    workloads = split_workloads(table, by, origin, validation)
    return Material(tuple(sources), workloads, validation, dict(decompositions))


def judge_family(
    table: pd.DataFrame, *, decompositions: Sequence[Decomposition], by: Sequence[str], confidence: float
) -> ValidationResult | InputError:
    """Fit and judge workloads that claims may compare: those that differ in name and optimizer only."""
    try:
        return validate(table, decompositions, by=by, confidence=confidence)
    except InputError as error:
        return error


def merge(results: Sequence[ValidationResult | InputError]) -> ValidationResult:
    """Return the results of all families as one; a claim that none could be judged on stands once.

    The claim on all curves is judged once more, on those of all families.

    Raises
    ------
    InputError
        No family has a group that can be fitted.
    """
    found = [result for result in results if not isinstance(result, InputError)]
    errors = [result for result in results if isinstance(result, InputError)]
    if not found:
        raise errors[0]
    fits = tuple(fit for result in found for fit in result.fit.fits)
    claims = []
    for name in CATALOGUE:
        judged = [claim for result in found for claim in result.claims if claim.name == name]
        if name == "universal_trend" and len(found) > 1:
            judged = universal_trend(fits, found[0].confidence) or judged
        claims += [claim for claim in judged if claim.group] or judged[:1]
    fit = replace(
        found[0].fit,
        fits=fits,
        ratios=tuple(ratio for result in found for ratio in result.fit.ratios),
        warnings=(
            *(warning for result in found for warning in result.fit.warnings),
            *(f"left out: {error}" for error in errors),
        ),
    )
    sizes = tuple(size for result in found for size in result.critical_batch_sizes)
    return replace(found[0], claims=tuple(claims), critical_batch_sizes=sizes, fit=fit)


def split_workloads(
    table: pd.DataFrame, by: Sequence[str], origin: Sequence[Source], validation: ValidationResult
) -> tuple[Workload, ...]:
    """Return the workloads of the one table, in its order; `origin` has the input of each row."""
    import pandas as pd

    split = [*by, "sparsity"]
    steps = measure_steps(table, find_columns(table, by=split)).table
    steps = steps.rename(columns={f"by {name}": name for name in split})
    for frame in (steps, table):
        frame["sparsity"] = pd.to_numeric(frame["sparsity"], errors="coerce").fillna(0.0)
    keys = [tuple(map(str, key)) for key in table[list(by)].drop_duplicates().itertuples(index=False)]
    names = name_keys(by, keys)
    rows_of = {tuple(map(str, key)): rows for key, rows in table.groupby(list(by), sort=False)}
    steps_of = {tuple(map(comparable, key)): rows for key, rows in steps.groupby(list(by), sort=False)}

    def members(entries: Sequence[Any], key: tuple[str, ...]) -> list[Any]:
        wanted = tuple(comparable(part) for part in key)
        return [e for e in entries if tuple(comparable(e.group.get(name, "")) for name in by) == wanted]

    found = []
    for key, name in zip(keys, names, strict=True):
        rows = rows_of[key]
        source = origin[rows.index[0]]
        study = steps_of.get(tuple(map(comparable, key)), steps.iloc[:0])
        fits = sorted(members(validation.fit.fits, key), key=lambda fit: sparsity_of(fit.group))
        found.append(
            Workload(
                name=name,
                group={column: part for column, part in zip(by, key, strict=True) if part},
                source=source,
                trials=numeric(rows[rows["trial"] != ""], source),
                steps=study.drop(columns=list(by)).sort_values(["sparsity", "batch_size"]),
                fits=tuple(fits),
                ratios=tuple(members(validation.fit.ratios, key)),
            )
        )
    return tuple(found)


def name_keys(by: Sequence[str], keys: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a name for each workload: its own if that is enough, else with what tells it from others."""
    names = [key[0] for key in keys]
    if len(set(names)) == len(names) and all(names):
        return names
    varying = [i for i in range(1, len(by)) if len({key[i] for key in keys}) > 1]
    parts = [[key[0], *(f"{by[i]} {key[i]}" for i in varying if key[i])] for key in keys]
    return [", ".join(filter(None, part)) or "all rows" for part in parts]


def numeric(rows: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Return the columns on trials as numbers."""
    import pandas as pd

    names = [*BASE, "trial", *source.metaparameters, *(name for name in COSTS if name in rows)]
    found = pd.DataFrame({name: pd.to_numeric(rows[name], errors="coerce") for name in names})
    return found.assign(status=rows["status"]).sort_values(["sparsity", "batch_size", "trial"])


def sparsity_of(group: Mapping[str, Any]) -> float:
    """Return the sparsity of a group, 0 where it has none."""
    return number(group.get("sparsity")) or 0.0


def comparable(value: Any) -> str:
    """Return numbers written alike as the same text, so that 0.02 and "0.020" are the same."""
    found = number(value)
    return str(value) if found is None else repr(found)
