"""What was found, read from the files of this folder, and how it is printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

RESULTS = Path(__file__).parent
WORKLOADS = ("w1", "w2", "w3", "w4")
SPARSITIES = (0.0, 0.5, 0.7, 0.9)
Record = dict[str, Any]


def load_json(path: str) -> Record | None:
    """Return a file of this folder, None where it was not made."""
    file = RESULTS / path
    return json.loads(file.read_text()) if file.exists() else None


def load_table(path: str) -> pd.DataFrame | None:
    """Return a table of this folder, None where it was not made."""
    file = RESULTS / path
    return pd.read_csv(file) if file.exists() else None


def claims(name: str, *, sparsity: float | None = None, workload: str | None = None) -> Iterator[Record]:
    """Yield the entries of one claim in the joint validation that speak of a group."""
    for claim in (load_json("validation.json") or {"claims": []})["claims"]:
        group = claim["group"]
        asked = group and workload in (None, group["workload"]) and sparsity in (None, group["sparsity"])
        if asked and claim["name"] == name:
            yield claim


def universal_trend() -> Record | None:
    """Return the claim on all curves together."""
    found = (load_json("validation.json") or {"claims": []})["claims"]
    return next((claim for claim in found if claim["name"] == "universal_trend"), None)


def measured(estimate: Record | None, form: str = "{:.3g}") -> str:
    """Return a value with its interval, or the limit that the data set; three digits count."""
    if not estimate:
        return "not measured"
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))

    def word(number: float) -> str:
        return form.format(float(f"{number:.3g}"))

    if value is None:
        limits = [f"above {word(low)}"] if low is not None else []
        limits += [f"below {word(high)}"] if high is not None else []
        return " and ".join(limits) or "not determined"
    if low is None and high is None:
        return word(value)
    ends = ["0" if low is None else word(low), "∞" if high is None else word(high)]
    return f"{word(value)} [{', '.join(ends)}]"


def contains(estimate: Record, number: float) -> str:
    """Say whether an interval allows a number: the same, different, or cannot tell where it allows all."""
    low, high = estimate.get("low"), estimate.get("high")
    if (low is not None and number < low) or (high is not None and number > high):
        return "different"
    return "cannot tell" if low is None or high is None else "same"


def together(verdicts: Iterable[str]) -> str:
    """Return one word for several: different if one differs, the same if all are."""
    words = [{"holds": "same", "fails": "different"}.get(verdict, verdict) for verdict in verdicts]
    if not words:
        return "no data yet"
    if "different" in words:
        return "different"
    return "same" if set(words) == {"same"} else "cannot tell"


def group_name(group: Record) -> str:
    """Name a group as the pages do."""
    sparsity = group["sparsity"]
    return f"{group['workload'].upper()} {'dense' if sparsity == 0 else f'{100 * sparsity:g} %'}"


def markdown(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of Markdown."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
