"""A validation as one page for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sparsefit.fitting.results_records import Estimate
from sparsefit.fitting.validation_records import Claim, ValidationResult
from sparsefit.report.terminal import cell, digits, grouped, named, plain, varying

STYLES = {"holds": "green", "fails": "bold red", "cannot tell": "yellow"}


def render(result: ValidationResult) -> Group:
    """Return everything that ``sparsefit validate`` prints: each claim with its verdicts, then sizes.

    Parameters
    ----------
    result : ValidationResult
    """
    keys = varying([fit.group for fit in result.fit.fits])
    parts: list[RenderableType] = [Text(line) for line in headline(result)]
    for name in dict.fromkeys(claim.name for claim in result.claims):
        claims = [claim for claim in result.claims if claim.name == name]
        parts += ["", Text(claims[0].statement, style="bold")]
        if any(map(claim_cell, claims)):
            parts.append(Text(f"number: {claims[0].label}", style="dim"))
        parts.append(Padding(verdicts(claims, keys), 0))
    parts += ["", size_table(result, keys)]
    warnings = [f"warning: {text}" for text in result.fit.warnings]
    if warnings:
        parts += ["", *(Text(warning) for warning in warnings)]
    return Group(*parts)


def headline(result: ValidationResult) -> list[str]:
    """Say what was read, and how many claims came out how."""
    about = result.fit.input
    source = about.get("path") or "table"
    source = "standard input" if source == "-" else source
    rows = "trials" if about["level"] == "trials" else "rows"
    counts = result.counts()
    by = f"; grouped by {', '.join(about['by'])}" if about["by"] else ""
    return [
        f"Does K* = c1/B + c2 hold? {source}, {about['rows']:,} {rows}{by}; "
        f"{100 * result.confidence:g} % intervals",
        f"Of {sum(counts.values())} claims {counts['holds']} hold, {counts['fails']} fail, "
        f"{counts['cannot tell']} cannot be told.",
    ]


def verdicts(claims: Sequence[Claim], keys: Sequence[str]) -> Table:
    """Return a row a group; groups with the same words in one row.

    Rows fold at the width of the terminal, unlike those of tables of numbers.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, width=11)
    table.add_column(overflow="fold")
    same: dict[tuple[Any, ...], list[Claim]] = {}
    for claim in claims:
        same.setdefault((claim.verdict, claim.value, claim.low, claim.high, claim.reason), []).append(claim)
    for group in same.values():
        first = group[0]
        who = "; ".join(subject(claim, keys) for claim in group if subject(claim, keys))
        lead = ": ".join(part for part in (who, claim_cell(first)) if part)
        said = f"{lead}. {first.reason}" if lead else first.reason
        table.add_row(Text(first.verdict, style=STYLES[first.verdict]), Text(said))
    return table


def claim_cell(claim: Claim) -> str:
    """Return the number of a claim with its interval, nothing where it has neither."""
    ends = (claim.value, claim.low, claim.high)
    return "" if ends == (None, None, None) else cell(Estimate(*ends))


def subject(claim: Claim, keys: Sequence[str]) -> str:
    """Return the group of a claim in words, by what differs between groups."""
    return ", ".join(f"{name} {plain(claim.group[name])}" for name in keys if name in claim.group)


def size_table(result: ValidationResult, keys: tuple[str, ...]) -> Table:
    """Return a row a group and a column a definition of the critical batch size."""
    sizes = result.critical_batch_sizes
    names = list(dict.fromkeys(size.name for size in sizes))
    titles = {size.name: f"{size.name.replace('_', ' ')}\n{size.formula}" for size in reversed(sizes)}
    table = grouped(keys, [titles[name] for name in names], first="critical batch size\n")
    for fit in result.fit.fits:
        own = {size.name: size for size in sizes if size.group == fit.group}
        table.add_row(*named(fit.group, keys), *(definition_cell(own[name].estimate, name) for name in names))
    return table


def definition_cell(estimate: Estimate, name: str) -> str:
    """Return a critical batch size; one that no measured batch size passes is named so."""
    if name == "last_linear" and estimate.value is None:
        return "not reached"
    if name == "last_linear" and estimate.value is not None:
        return digits(estimate.value)
    return cell(estimate)
