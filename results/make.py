"""Make every file of this folder that is not measured, from the sweeps in it: python results/make.py.

A folder is a workload. Its files ``sweep*.db`` (written by ``sparsefit sweep`` and ``sparsefit repeat``),
``uncapped*.db`` (by ``sparsefit sweep --no-cap``) and ``decomposition.json`` (by ``sparsefit decompose``) are
measured; all the others are made of them.
``steps.csv`` holds all studies with their state. While some are unfinished, as many first trials of each are
counted as most studies have ended, as in a sweep of so many; fits and verdicts use studies finished in that
sense.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from sparsefit.experiment.joined import join
from sparsefit.experiment.store import Store, open_store
from sparsefit.experiment.tables import steps_table, trials_table

RESULTS = Path(__file__).parent
FEWEST = 3
"""Trials of a study that count at least."""

COST = ("samples", "seconds", "total_seconds", "check_seconds", "checks", "evaluated", "floor")


def sparsefit(*arguments: str | Path) -> bool:
    """Print a command, run it in the folder above, and say whether it went well."""
    words = [str(argument) for argument in arguments]
    print("$ sparsefit", *words, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "sparsefit", *words],
        cwd=RESULTS.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        print(done.stderr.strip())
    return done.returncode == 0


def make_workload(folder: Path) -> Path | None:
    """Make the files of one workload; return its table of finished trials if it can be fitted."""
    sweeps = sorted(folder.glob("sweep*.db"))
    here = folder.relative_to(RESULTS.parent)
    files = [here / sweep.name for sweep in sweeps]
    stale = ("steps.csv", "counted.csv", "trials.csv", "fit.json", "fit.csv", "fit.png", "validation.json")
    for name in (*stale, "seeds.csv", "seeds_fit.json", "definition.json", "provenance.json", "cost.csv"):
        (folder / name).unlink(missing_ok=True)
    write_ancestry(folder, [*sweeps, *uncapped_sweeps(folder)])
    sparsefit("collect", *files, "-o", here / "steps.csv")
    parts = here / "decomposition.json"
    known = ("--decomposition", parts) if (folder / parts.name).exists() else ()
    if sparsefit("collect", *files, "--repeats", "-o", here / "seeds.csv"):
        sparsefit("fit", here / "seeds.csv", "--json", here / "seeds_fit.json")
    counted = ("--first", str(count(sweeps)), "--finished")
    if not sparsefit("collect", *files, *counted, "-o", here / "counted.csv"):
        return None
    sparsefit("collect", *files, *counted, "--trials", "-o", here / "trials.csv")
    tables = ("--json", here / "fit.json", "--csv", here / "fit.csv", "--plot", here / "fit.png")
    if not sparsefit("fit", here / "trials.csv", *tables):
        return None
    sparsefit("validate", here / "trials.csv", *known, "--json", here / "validation.json")
    return here / "trials.csv"


def uncapped_sweeps(folder: Path) -> list[Path]:
    """Return the sweeps whose trials all ran to their end."""
    return sorted(folder.glob("uncapped*.db"))


def make_uncapped(folder: Path) -> Path | None:
    """Make the table of a workload's uncapped trials and what `sparsefit validate` says of them."""
    sweeps, here = uncapped_sweeps(folder), folder.relative_to(RESULTS.parent)
    for name in ("uncapped.csv", "uncapped.json"):
        (folder / name).unlink(missing_ok=True)
    files = [here / sweep.name for sweep in sweeps]
    table = here / "uncapped.csv"
    counted = ("--first", str(count(sweeps)), "--finished") if sweeps else ()
    if not sweeps or not sparsefit("collect", *files, *counted, "--trials", "-o", table):
        return None
    return table if sparsefit("validate", table, "--json", here / "uncapped.json") else None


def count(sweeps: list[Path]) -> int:
    """Return how many trials of each study to count: those with which most studies are finished, or more."""
    whole = join(sweeps, steps_table)
    most = int(whole["trials"].max())
    finished = {
        n: int((join(sweeps, steps_table, finished=True, first=n)["trials"] == n).sum())
        for n in range(FEWEST, most + 1)
    }
    return max(finished, key=lambda n: (finished[n], n), default=most)


def write_ancestry(folder: Path, sweeps: list[Path]) -> None:
    """Write the definition of every sweep, where its trials ran, and what they cost."""
    definitions, sessions, costs = {}, {}, []
    for sweep in sweeps:
        with open_store(sweep) as store:
            definitions[sweep.name] = store.content
            sessions[sweep.name] = ran(store)
            costs.append(cost(store).assign(sweep=sweep.name))
    for name, content in (("definition", definitions), ("provenance", sessions)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    pd.concat(costs).to_csv(folder / "cost.csv", index=False)


def ran(store: Store) -> dict[int, dict[str, Any]]:
    """Return the provenance of every session, when it began, and when its last trial ended."""
    began = dict(store.execute("SELECT id, started FROM sessions"))
    last: dict[int, str] = {}
    for row in store.rows():
        last[row.session] = max(row.ended, last.get(row.session, ""))
    return {
        number: {**about, "started": began[number], "last_trial": last.get(number, began[number])}
        for number, about in store.sessions().items()
    }


def cost(store: Store) -> pd.DataFrame:
    """Return what the trials of a sweep cost, a row a clock, sparsity and batch size.

    ``clock`` says what the seconds are: early sessions took wall time, later ones processor time.
    ``steps`` and all but ``total_seconds`` are those of each trial's longest run.
    """
    sessions = store.sessions()
    table = trials_table(store)
    rows = store.rows()
    table["clock"] = [sessions[row.session].get("clock", "wall time") for row in rows]
    table["run_steps"] = [row.run.end.step for row in rows]
    grouped = table.groupby(["clock", "sparsity", "batch_size"], as_index=False)
    return grouped.agg(trials=("trial", "size"), steps=("run_steps", "sum"), **{n: (n, "sum") for n in COST})


def main() -> None:
    """Make all folders, then what compares workloads, then the pages that quote them."""
    folders = sorted(path.parent for path in RESULTS.glob("*/sweep.db"))
    tables = [table for folder in folders if (table := make_workload(folder))]
    uncapped = [table for folder in folders if (table := make_uncapped(folder))]
    parts = [path.relative_to(RESULTS.parent) for path in sorted(RESULTS.glob("*/decomposition.json"))]
    known = [word for path in parts for word in ("--decomposition", path)]
    if tables:
        sparsefit("validate", *tables, *known, "--json", "results/validation.json")
        sparsefit("report", *tables, *known, "-o", "results/report")
    if uncapped:
        sparsefit("report", *uncapped, "-o", "results/uncapped")
    subprocess.run([sys.executable, RESULTS / "reproduction.py"], check=True)


if __name__ == "__main__":
    main()
