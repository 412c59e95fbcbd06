"""What a report says: sentences and tables, made from the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sparsefit.fitting.validation_records import Claim
from sparsefit.report.fit_table import WORDS
from sparsefit.report.material import Material, Workload, comparable, sparsity_of
from sparsefit.report.style import sparsity_label
from sparsefit.report.terminal import cell
from sparsefit.report.validation_table import claim_cell

if TYPE_CHECKING:
    import pandas as pd

ENDS = {
    "reached": "reached the goal",
    "not_reached": "did not reach it",
    "capped": "were stopped early, as more steps could not have changed the result",
    "diverged": "diverged",
}
VERDICTS = ("holds", "fails", "cannot tell")


def headline(material: Material) -> str:
    """Say how much was measured and how the claims came out."""
    workloads = material.workloads
    studies = sum(len(w.steps.drop_duplicates(["sparsity", "batch_size"])) for w in workloads)
    n_trials = sum(len(w.trials) for w in workloads)
    measured = f"{studies:,} studies" + (f" of {n_trials:,} trials" if n_trials else "")
    counts: Counter[str] = Counter(entry.verdict for entry in material.validation.claims)
    judged = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    confidence = f"{100 * material.validation.confidence:g} %"
    return (
        f"{plural(len(material.sources), 'input')}, {plural(len(workloads), 'workload')}, {measured}. "
        f"{plural(len(material.validation.fit.fits), 'curve')} fitted; all intervals are {confidence}. "
        f"{plural(len(material.validation.claims), 'claim')} judged: {judged}."
    )


def plural(count: int, noun: str) -> str:
    """Return ``1 curve`` or ``2 curves``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def describe(workload: Workload) -> list[str]:
    """Say what a workload is and how its trials ended."""
    said = ["; ".join(f"{name.replace('_', ' ')} {value}" for name, value in workload.group.items())]
    sizes, sparsities = workload.steps["batch_size"], workload.steps["sparsity"].unique()
    if len(sizes):
        lost = int(workload.steps["censored"].sum())
        said.append(
            f"Batch sizes {sizes.min():g} to {sizes.max():g}; sparsities "
            f"{', '.join(f'{value:g}' for value in sorted(sparsities))}. "
            + (f"{plural(lost, 'study')} did not reach the goal." if lost == 1 else "")
            + (f"{lost} studies did not reach the goal." if lost > 1 else "")
        )
    if len(workload.trials):
        counts = workload.trials["status"].value_counts()
        ends = [f"{counts[status]:,} {words}" for status, words in ENDS.items() if status in counts]
        said.append(f"Of {len(workload.trials):,} trials, {'; '.join(ends)}.")
    return [sentence.strip() for sentence in said if sentence.strip()]


def fit_rows(workload: Workload) -> list[dict[str, str]]:
    """Return a row a fitted curve, in words and rounded numbers."""
    return [
        {
            "group": sparsity_label(sparsity_of(fit.group)),
            "c1": cell(fit.c1),
            "c2": cell(fit.c2),
            "critical": cell(fit.critical_batch_size),
            "scatter": "-" if fit.rms_log_residual != fit.rms_log_residual else f"{fit.rms_log_residual:.3f}",
            "verdict": WORDS[fit.verdict],
            "reason": " ".join([fit.verdict_reason, *fit.warnings]),
        }
        for fit in workload.fits
    ]


def claim_rows(material: Material) -> list[dict[str, Any]]:
    """Return one entry a claim, with a row a group that it was judged on."""
    names = {id_of(w.group): w.name for w in material.workloads}
    found: dict[str, dict[str, Any]] = {}
    for claim in material.validation.claims:
        entry = found.setdefault(
            claim.name, {"statement": claim.statement, "test": claim.test, "rows": [], "counts": Counter()}
        )
        entry["counts"][claim.verdict] += 1
        entry["rows"].append(
            {
                "group": about(claim, names),
                "verdict": claim.verdict,
                "label": claim.label,
                "number": claim_cell(claim),
                "reason": claim.reason,
            }
        )
    for entry in found.values():
        entry["summary"] = ", ".join(f"{entry['counts'][v]} {v}" for v in VERDICTS if entry["counts"][v])
        entry["verdict"] = next(v for v in ("fails", "cannot tell", "holds") if entry["counts"][v])
    return list(found.values())


def about(claim: Claim, names: Mapping[Any, str]) -> str:
    """Say which group a claim is about."""
    if not claim.group:
        return "all"
    name = names.get(id_of({k: v for k, v in claim.group.items() if v != ""}), "")
    sparsity = sparsity_label(sparsity_of(claim.group)) if "sparsity" in claim.group else ""
    return ", ".join(part for part in (name, sparsity) if part) or "all"


def id_of(group: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what identifies a workload, whatever the sparsity."""
    return tuple(
        sorted(
            (name, comparable(value)) for name, value in group.items() if name != "sparsity" and value != ""
        )
    )


def tables(material: Material) -> dict[str, pd.DataFrame]:
    """Return the tables of the report by file name."""
    import pandas as pd

    ends = {name: f"{name}_" for name in ("c1", "c2", "critical_batch_size")}
    columns = [column for name, prefix in ends.items() for column in (name, f"{prefix}low", f"{prefix}high")]
    fits, steps, ratios = [], [], []
    for workload in material.workloads:
        steps.append(workload.steps.assign(workload=workload.name))
        for fit in workload.fits:
            row = {"workload": workload.name, "sparsity": sparsity_of(fit.group), "n_points": fit.n_points}
            fits.append(row | estimates(fit, ends) | {"verdict": fit.verdict, "reason": fit.verdict_reason})
        for ratio in workload.ratios:
            row = {"workload": workload.name, "sparsity": sparsity_of(ratio.group)}
            ratios.append(row | estimates(ratio, ends) | {"one_factor": ratio.shared.verdict})
    claims = [
        {
            **{
                n: getattr(claim, n)
                for n in ("name", "statement", "verdict", "value", "low", "high", "label")
            },
            **{n: getattr(claim, n) for n in ("p_value", "test", "reason")},
            "group": "; ".join(f"{k} {v}" for k, v in claim.group.items()),
            "reference": "; ".join(f"{k} {v}" for k, v in (claim.reference or {}).items()),
        }
        for claim in material.validation.claims
    ]
    sizes = [
        {
            "group": "; ".join(f"{k} {v}" for k, v in size.group.items()),
            **{name: getattr(size, name) for name in ("name", "definition", "formula")},
            **size.estimate.to_dict(),
        }
        for size in material.validation.critical_batch_sizes
    ]
    inputs = [
        {"path": path, "what": name, "value": value}
        for path, rows in ancestry(material)
        for name, value in rows
    ]
    return {
        "steps": pd.concat(steps, ignore_index=True),
        "fits": pd.DataFrame(fits),
        "ratios": pd.DataFrame(ratios, columns=["workload", "sparsity", *columns, "one_factor"]),
        "claims": pd.DataFrame(claims),
        "critical_batch_sizes": pd.DataFrame(sizes),
        "inputs": pd.DataFrame(inputs),
    }


def estimates(result: Any, names: Mapping[str, str]) -> dict[str, float | None]:
    """Return value and interval of several estimates as columns."""
    row: dict[str, float | None] = {}
    for name, prefix in names.items():
        estimate = getattr(result, name)
        row |= {name: estimate.value, f"{prefix}low": estimate.low, f"{prefix}high": estimate.high}
    return row


def ancestry(material: Material) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """Yield each input with what is known of its origin."""
    for source in material.sources:
        yield source.path, [("kind", source.kind), ("sha256", source.sha256), *source.about.items()]
    for path, decomposition in material.decompositions.items():
        rows = [("kind", "decomposition"), ("workload", decomposition.workload)]
        rows += [("seeds", ", ".join(map(str, decomposition.seeds)))] if decomposition.seeds else []
        yield path, rows + ([("source", decomposition.source)] if decomposition.source else [])
