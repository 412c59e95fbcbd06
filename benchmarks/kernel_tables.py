"""Tables of what kernels.py measured; run as a script it writes them in Markdown from its JSON."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from candidates import ALL, BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD
from rich.console import Console
from rich.table import Table

# Least ratio to dense, forward and backward, that the kernels are built to reach: by sparsity.
TARGETS_BLOCKED = {0.5: 1.3, 0.7: 2.0, 0.8: 3.0, 0.9: 5.0, 0.95: 8.0}
TARGETS_LAYER = {0.5: 1.1, 0.8: 2.0, 0.9: 3.0, 0.95: 4.5}
TARGET_SMALL_BATCH = {0.9: 2.0}

Row = dict[str, Any]
Sheet = tuple[str, Sequence[str], list[list[str]]]  # title, header, lines


def sheets(result: dict[str, Any]) -> list[Sheet]:
    """Return the tables of each number of threads: geometric means beside the targets, then every layer."""
    found = []
    for threads in sorted({row["threads"] for row in result["rows"]}):
        rows = [row for row in result["rows"] if row["threads"] == threads]
        peak = result["peak_gflops"] * threads
        memory = result.get("memory_peak_gflops", 0.0) * threads
        ceiling = f" ({memory:.0f} with a factor of each from L1)" if memory else ""
        clocks = " and ".join(sorted({row["clock"] for row in rows}))
        title = (
            f"{result['cpu']}, {result['isa']}, {threads} thread{'s' * (threads > 1)}, "
            f"peak {peak:.0f} GFLOP/s{ceiling}, {clocks} time, torch {result['torch']}, "
            f"commit {result['commit']}, {result['date']}"
        )
        title += f". torch.compile {_left_out(rows)}"
        found += [(title, *_means(rows, peak)), (f"Each layer, threads: {threads}", *_layers(rows, peak))]
    return found


def _left_out(rows: list[Row]) -> str:
    """Say for which layers and batches no compiled dense layer was among the candidates."""
    batches: dict[str, list[int]] = {}
    for row in rows:
        if not row.get("compiled") and row["batch"] not in batches.setdefault(row["layer"], []):
            batches[row["layer"]].append(row["batch"])
    missing = {layer: sorted(found) for layer, found in batches.items() if found}
    if not missing:
        return "everywhere a candidate"
    if not any(row.get("compiled") for row in rows):
        return "left out"
    where = "; ".join(f"{layer}: {', '.join(map(str, found))}" for layer, found in missing.items())
    return f"left out at these layers and batches: {where}"


def print_tables(result: dict[str, Any], console: Console) -> None:
    for title, header, lines in sheets(result):
        table = Table(title=title)
        for name in header:
            table.add_column(name, justify="right" if name != "layer" else "left")
        for line in lines:
            table.add_row(*line)
        console.print(table)


def _means(rows: list[Row], peak: float) -> tuple[Sequence[str], list[list[str]]]:
    header = ["batch", "sparsity", FORWARD, "grad input", "grad weight", "all", "target", "share of peak",
              "NCHW", "lone layer", "target", "auto", "SparseProp", "over one thread"]  # fmt: skip
    lines = []
    batches = {row["batch"] for row in rows}
    groups: list[tuple[str, set[int]]] = [(str(b), {b}) for b in sorted(batches) if b < 32]
    groups.append(("≥ 32", {b for b in batches if b >= 32}))
    for name, group in groups:
        for sparsity in sorted({row["sparsity"] for row in rows if row["batch"] in group}):

            def some(kind: str, step: str, s: float = sparsity, g: set[int] = group) -> list[Row]:
                wanted = (kind, step, s)
                return [
                    r for r in rows if (r["kind"], r["pass"], r["sparsity"]) == wanted and r["batch"] in g
                ]

            small = TARGET_SMALL_BATCH if name in ("2", "8") else {}
            blocked = some("blocked", ALL)
            lines.append(
                [
                    name,
                    f"{sparsity:g}",
                    *(
                        _mean(some("blocked", step))
                        for step in (FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, ALL)
                    ),
                    _target((small or TARGETS_BLOCKED if min(group) >= 32 else small).get(sparsity)),
                    f"{geometric_mean(row['gflops'] for row in blocked) / peak:.0%}",
                    _mean(some("NCHW", ALL)),
                    _mean(some("layer", ALL)),
                    _target(TARGETS_LAYER.get(sparsity) if min(group) >= 32 else None),
                    _mean(some("auto", ALL)),
                    _mean(_fastest_sparseprop(rows, sparsity, group)),
                    _mean(some("scaling", ALL)),
                ]
            )
    return header, lines


def _fastest_sparseprop(rows: list[Row], sparsity: float, batches: set[int]) -> list[Row]:
    """Return the row of SparseProp's faster algorithm at each layer and batch."""
    found: dict[tuple[str, int], Row] = {}
    for row in rows:
        place = row["layer"], row["batch"]
        if not row["kind"].startswith("sparseprop") or row["pass"] != ALL or row["batch"] not in batches:
            continue
        if row["sparsity"] == sparsity and (place not in found or row["ratio"] > found[place]["ratio"]):
            found[place] = row
    return list(found.values())


def _layers(rows: list[Row], peak: float) -> tuple[Sequence[str], list[list[str]]]:
    header = ["layer", "batch", "sparsity", FORWARD, "grad input", "grad weight", "all", "GFLOP/s",
              "share of peak", "NCHW", "lone layer", "auto", "SparseProp", "dense", "spread"]  # fmt: skip
    found: dict[tuple[str, int, float], dict[tuple[str, str], Row]] = {}
    for row in rows:
        found.setdefault((row["layer"], row["batch"], row["sparsity"]), {})[row["kind"], row["pass"]] = row
    lines = []
    for (layer, batch, sparsity), cell in found.items():

        def ratio(kind: str, step: str = ALL, cell: dict[tuple[str, str], Row] = cell) -> str:
            return _mean([cell[kind, step]]) if (kind, step) in cell else "–"

        rivals = [cell[key] for key in cell if key[0].startswith("sparseprop")]
        if ("blocked", ALL) not in cell:
            continue
        every = cell["blocked", ALL]
        lines.append(
            [
                layer,
                str(batch),
                f"{sparsity:g}",
                *(ratio("blocked", step) for step in (FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, ALL)),
                f"{every['gflops']:.0f}",
                f"{every['gflops'] / peak:.0%}",
                ratio("NCHW"),
                ratio("layer"),
                ratio("auto"),
                f"{max(row['ratio'] for row in rivals):.2f}×" if rivals else "–",
                every["dense"],
                f"{every['spread']:.0%}",
            ]
        )
    return header, lines


def geometric_mean(numbers: Iterable[float]) -> float:
    logs = [math.log(number) for number in numbers]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def _mean(rows: list[Row]) -> str:
    return f"{geometric_mean(row['ratio'] for row in rows):.2f}×" if rows else "–"


def _target(value: float | None) -> str:
    return "–" if value is None else f"≥ {value:g}×"


def markdown(sheet: Sheet) -> str:
    title, header, lines = sheet
    rule = ["---" if name == "layer" else "---:" for name in header]
    body: Callable[[Sequence[str]], str] = lambda cells: "| " + " | ".join(cells) + " |"  # noqa: E731
    return "\n".join([f"**{title}**", "", body(header), body(rule), *map(body, lines), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path)
    parser.add_argument("--means", action="store_true", help="leave out the tables of each layer")
    options = parser.parse_args()
    result = json.loads(options.json.read_text())
    print(f"`{result['command']}`\n")
    for sheet in sheets(result)[:: 2 if options.means else 1]:
        print(markdown(sheet))


if __name__ == "__main__":
    main()
