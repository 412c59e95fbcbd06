"""What the sweeps cost, what the full protocol would, and what each device saves, as tables of the page."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from found import RESULTS, SPARSITIES, WORKLOADS, load_json, load_table, markdown

VALIDATION = {"mnist": 6000, "fashion-mnist": 6000, "cifar-10": 5000}
FULL_SIZES, FULL_TRIALS, FULL_STEPS = 2 ** np.arange(1, 15), 100, 40_000
SAVINGS = RESULTS.parent / "benchmarks" / "results" / "savings.json"


def cost() -> str:
    """Add up what the trials of each workload took."""
    rows = []
    for name in WORKLOADS:
        table = load_table(f"{name}/cost.csv")
        if table is None:
            continue
        definition = next(iter((load_json(f"{name}/definition.json") or {}).values()))["workload"]
        size = VALIDATION[definition["dataset"]]
        hours = wall_hours(name)
        for (uncapped, clock), group in table.groupby([is_uncapped(table["sweep"]), "clock"]):
            asked, done = int(group["checks"].sum()), int(group["evaluated"].sum())
            rows.append(
                [
                    f"{name.upper()}{', no caps' if uncapped else ''}",
                    clock,
                    int(group["trials"].sum()),
                    f"{hours[bool(uncapped), str(clock)]:.1f}",
                    f"{group['total_seconds'].sum() / 3600:.2f}",
                    f"{group['check_seconds'].sum() / group['seconds'].sum():.0%}",
                    f"{int(group['steps'].sum()):,}",
                    f"{int(group['samples'].sum()):,}",
                    f"{asked:,}",
                    f"{done / size:,.0f}",
                    f"{1 - done / (asked * size):.0%}",
                ]
            )
    header = [
        "workload",
        "clock",
        "trials",
        "wall hours",
        "core-hours",
        "of it goal checks",
        "steps",
        "examples trained on",
    ]
    header += ["evaluations asked for", "done, in whole evaluations", "saved"]
    return markdown(header, rows) if rows else "Nothing has run."


def is_uncapped(sweeps: pd.Series) -> pd.Series:
    """Say which rows come from sweeps without caps, by the names of their files."""
    return sweeps.str.startswith("uncapped")


def wall_hours(name: str) -> dict[tuple[bool, str], float]:
    """Return how long the sessions of a workload lasted, from start to last trial.

    By whether the sweep is one without caps, and by the clock that the sessions used.
    """
    hours: dict[tuple[bool, str], float] = {}
    for sweep, sessions in (load_json(f"{name}/provenance.json") or {}).items():
        for session in sessions.values():
            lasted = pd.Timestamp(session["last_trial"]) - pd.Timestamp(session["started"])
            key = (sweep.startswith("uncapped"), session.get("clock", "wall time"))
            hours[key] = hours.get(key, 0.0) + lasted.total_seconds() / 3600
    return hours


def estimate() -> str:
    """Estimate the core-hours of the paper's whole grid, from the rates and curves of W1."""
    costs, fit, steps = load_table("w1/cost.csv"), load_json("w1/fit.json"), load_table("w1/counted.csv")
    if costs is None or fit is None or steps is None:
        return "Not enough has run."
    costs = costs[~is_uncapped(costs["sweep"])]
    clean = costs[costs["clock"] == "processor time"].groupby("sparsity").sum(numeric_only=True)
    rates, reruns = clean["samples"] / clean["seconds"], dict(clean["total_seconds"] / clean["seconds"])
    curves = {f["group"]["sparsity"]: f["maximum_likelihood"] for f in fit["fits"]}
    if not curves or rates.empty:
        return "Not enough has run."
    rows, total = [], np.zeros(2)
    for sparsity in SPARSITIES:
        rate, timed = nearest(dict(rates), sparsity)
        curve, fitted = nearest(curves, sparsity)
        best = np.exp(curve["log_c1"]) / FULL_SIZES + np.exp(curve["log_c2"])
        capped = reruns[timed] * overhead(steps, costs, fitted) * (best * FULL_SIZES).sum()
        examples = np.array([FULL_STEPS * FULL_SIZES.sum(), capped])
        hours = FULL_TRIALS * examples / rate / 3600
        total += hours
        rows.append(
            [f"{sparsity:g}", f"{rate:,.0f}", f"{timed:g}", f"{fitted:g}", *(f"{h:,.0f}" for h in hours)]
        )
    rows.append(["all", "", "", "", *(f"{h:,.0f}" for h in total)])
    header = ["sparsity", "examples a second and core", "measured at", "curve of"]
    return markdown([*header, "core-hours without caps, at most", "core-hours with caps"], rows)


def nearest(found: dict[float, Any], sparsity: float) -> tuple[Any, float]:
    """Return what is known of the nearest sparsity, and which that is."""
    key = min(found, key=lambda known: abs(known - sparsity))
    return found[key], key


def overhead(steps: pd.DataFrame, costs: pd.DataFrame, sparsity: float) -> float:
    """Return examples trained on over trials × K* × B, measured on the counted studies of a sparsity."""
    both = costs.merge(steps[["sparsity", "batch_size", "steps"]].dropna(), on=["sparsity", "batch_size"])
    own = both[both["sparsity"] == sparsity]
    return float(own["samples"].sum() / (own["trials"] * own["steps_y"] * own["batch_size"]).sum())


def savings() -> str:
    """Print the processor time of a study with each device switched off."""
    if not SAVINGS.exists():
        return "Not measured yet."
    record = json.loads(SAVINGS.read_text())
    blocks = []
    for study, words in record["studies"].items():
        rows = [row for row in record["rows"] if row["study"] == study]
        cells = [
            [
                row["without"] or "nothing",
                f"{row['seconds']:.1f}",
                f"{row['seconds'] / rows[0]['seconds']:.2f}×",
                f"{row['memory_mb']:.0f}",
                row["steps_to_result"] or "",
            ]
            for row in rows
        ]
        header = ["switched off", "processor seconds", "over all on", "peak memory, MB", "K\\*"]
        blocks.append(f"{words}:\n\n{markdown(header, cells)}")
    return "\n\n".join(blocks)
