"""Write the tables of docs/reproduction.md and README.md from the files here: python results/reproduction.py.

The pages have regions between ``<!-- made: NAME -->`` and ``<!-- end -->``; what lies between is replaced.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from claims import all_claims
from costs import cost, estimate, savings
from found import (
    RESULTS,
    WORKLOADS,
    group_name,
    load_json,
    load_table,
    markdown,
    measured,
    universal_trend,
)

from sparsefit import fit
from sparsefit.fitting.results import CurveFit

PAGES = (RESULTS.parent / "docs" / "reproduction.md", RESULTS.parent / "README.md")
REGION = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
WORDS = {"consistent": "consistent", "rejected": "rejected", "undetermined": "cannot tell"}
RELEASE_INTERVAL = 96
"""The release's default of 100 steps between checks, as a multiple of 16."""


def state() -> str:
    """Count how much of every sweep has run, and how much of that counts."""
    rows = []
    for name in WORKLOADS:
        table, counted = (load_table(f"{name}/{file}.csv") for file in ("steps", "counted"))
        if table is None:
            rows.append([name.upper(), "not begun", "", "", "", ""])
            continue
        for sparsity, group in table.groupby("sparsity"):
            whole = int((group["unfinished"] == 0).sum())
            trials = int(group["trials"].sum())
            sizes = f"{group['batch_size'].min()} to {group['batch_size'].max()}"
            ended = f"{trials - int(group['unfinished'].sum())} of {trials}"
            count = "none"
            if counted is not None and (counted["sparsity"] == sparsity).any():
                own = counted.loc[counted["sparsity"] == sparsity, "trials"].max()
                most = f"first {own} of {group['trials'].max()} trials"
                count = f"{(counted['sparsity'] == sparsity).sum()}, {most}"
            rows.append([name.upper(), f"{sparsity:g}", sizes, ended, f"{whole} of {len(group)}", count])
    header = ["workload", "sparsity", "batch sizes", "trials ended", "studies finished", "studies counted"]
    return markdown(header, rows)


def steps() -> str:
    """Print K* of every study; one that does not count yet is marked as an upper bound."""
    blocks = []
    for name in WORKLOADS:
        table, counted = (load_table(f"{name}/{file}.csv") for file in ("steps", "counted"))
        if table is None:
            continue
        keys = ["sparsity", "batch_size"]
        cells = table.set_index(keys)
        if counted is not None:
            cells.update(counted.set_index(keys)[["steps", "unfinished"]])
        sizes = sorted(table["batch_size"].unique())
        rows = [
            [f"{sparsity:g}", *(study(cells.loc[sparsity, size]) for size in sizes)]
            for sparsity in sorted(table["sparsity"].unique())
        ]
        blocks.append(markdown([name.upper(), *(f"B = {size}" for size in sizes)], rows))
    return "\n\n".join(blocks) or "No sweep has begun."


def study(row: pd.Series) -> str:
    """Print the steps-to-result of a study and whether they can still change."""
    if row["unfinished"]:
        return f"(≤ {row['steps']:.0f})" if pd.notna(row["steps"]) else "(none yet)"
    return f"{row['steps']:.0f}" if pd.notna(row["steps"]) else f"> {row['max_steps']}"


def fits() -> str:
    """Print the curves of the finished studies."""
    rows = []
    for name in WORKLOADS:
        once, again = (load_json(f"{name}/{file}.json") or {"fits": []} for file in ("fit", "seeds_fit"))
        labelled = [(found, "") for found in once["fits"]]
        for found, label in [*labelled, *((found, ", winners again") for found in again["fits"])]:
            numbers = [measured(found[part]) for part in ("c1", "c2", "critical_batch_size")]
            scatter = found["rms_log_residual"]
            rows.append(
                [
                    group_name(found["group"]) + label,
                    found["n_points"],
                    *numbers,
                    "" if scatter is None else f"{scatter:.0%}",
                    f"{WORDS[found['verdict']]}: {found['verdict_reason']}",
                ]
            )
    header = ["group", "points", "c1", "c2", "c1/c2", "scatter of K\\*", "verdict on the hyperbola"]
    return markdown(header, rows) if rows else "No group has two finished studies."


def shapes() -> str:
    """Print the shape of each curve and of all together."""
    found = universal_trend() or {"details": []}
    rows: dict[str, list[str]] = {}
    for row in found["details"]:
        name = "all together" if row["group"] is None else group_name(row["group"])
        rows.setdefault(name, []).extend([measured(row), f"{row['p_value']:.2g}"])
    header = ["curve", "exponent a", "p-value of a = 1", "sharpness p", "p-value of p = 1"]
    return markdown(header, [[name, *cells] for name, cells in rows.items()])


def front() -> str:
    """Print the curves of W2 as the front page shows them."""
    found = load_json("w2/fit.json") or {"fits": []}
    rows = [
        [
            f"{100 * curve['group']['sparsity']:g} %",
            *(measured(curve[part], "{:,.0f}") for part in ("c1", "c2", "critical_batch_size")),
        ]
        for curve in found["fits"]
    ]
    return markdown(["sparsity", "c1", "c2", "c1/c2"], rows)


def seeds() -> str:
    """Compare the winners with their repeats."""
    rows = []
    for name in WORKLOADS:
        table = load_table(f"{name}/seeds.csv")
        if table is None:
            continue
        for (sparsity, size), group in table.groupby(["sparsity", "batch_size"]):
            reached = group["steps"].dropna()
            again = ", ".join(
                f"{s:.0f}" if pd.notna(s) else f"> {m:.0f}" for s, m in group[["steps", "max_steps"]].values
            )
            winner = group["winner_steps"].iloc[0]
            over = (
                f"{np.exp(np.log(reached / winner).mean()):.2f}"
                if len(reached) == len(group)
                else "not all reached"
            )
            rows.append([name.upper(), f"{sparsity:g}", size, f"{winner:.0f}", again, over])
    header = [
        "workload",
        "sparsity",
        "B",
        "K\\*, the winner's",
        "again, fresh seeds",
        "geometric mean over K\\*",
    ]
    return markdown(header, rows) if rows else "No winner was run again yet."


def luck() -> str:
    """Compare K* with the repeats of all winners of a sparsity, and what both say of sparse over dense."""
    rows = []
    for name in WORKLOADS:
        table = load_table(f"{name}/seeds.csv")
        if table is None:
            continue
        # Steps of a run that missed the goal are above those it had: so are the means that hold it.
        again, winner = np.log(table["steps"].fillna(table["max_steps"])), np.log(table["winner_steps"])
        keys = ["sparsity", "batch_size"]
        means = table.assign(again=again, winner=winner).groupby(keys)[["again", "winner"]].mean()
        for sparsity, own in means.groupby("sparsity"):
            own = own.droplevel("sparsity")
            missed = table.loc[table["sparsity"] == sparsity, "steps"].isna().any()
            over = (own - means.xs(0.0)).mean()
            lucky, by_winners, by_repeats = (
                f"{np.exp(number):.2f}"
                for number in ((own["again"] - own["winner"]).mean(), over["winner"], over["again"])
            )
            mark = "above " if missed else ""
            rows.append(
                [name.upper(), f"{sparsity:g}", len(own), f"{mark}{lucky}", by_winners, f"{mark}{by_repeats}"]
            )
    header = ["workload", "sparsity", "winners", "again over K\\*", "K\\* over dense", "again over dense"]
    return markdown(header, rows) if rows else "No winner was run again yet."


def trial_count() -> str:
    """Compare K* of the first n trials with that of all: median and largest over finished studies.

    A study of which none of the first n reached the goal counts as above all others.
    """
    rows = []
    for name in WORKLOADS:
        table = load_table(f"{name}/trials.csv")
        if table is None:
            continue
        for sparsity, group in table.groupby("sparsity"):
            wide = group.pivot(index="batch_size", columns="trial", values="steps").sort_index(axis=1)
            best = wide.cummin(axis=1).ffill(axis=1)
            over = best.div(best.iloc[:, -1], axis=0).fillna(np.inf)
            for count in sorted({min(n, wide.shape[1]) for n in (2, 5, wide.shape[1])}):
                part = over.iloc[:, count - 1]
                reached = f"{np.isfinite(part).sum()} of {len(part)}"
                cells = ("none" if np.isinf(x) else f"{x:.2f}" for x in (part.median(), part.max()))
                rows.append([name.upper(), f"{sparsity:g}", count, reached, *cells])
    header = ["workload", "sparsity", "trials n", "studies with a K\\*(n)", "median K\\*(n)/K\\*", "largest"]
    return markdown(header, rows) if rows else "No study is finished."


def interval() -> str:
    """Show how the evaluation interval moves the fit."""
    rows = []
    for name in WORKLOADS:
        table = load_table(f"{name}/counted.csv")
        if table is None:
            continue
        whole = table.drop(columns=["winner"])
        coarse = whole.assign(
            steps=np.ceil(whole["steps"] / RELEASE_INTERVAL) * RELEASE_INTERVAL,
            eval_interval=RELEASE_INTERVAL,
        )
        every = f"{whole['eval_interval'].max():g}"
        cases = (
            (f"{every}, taken into account", whole),
            (f"{every}, ignored", whole.drop(columns=["eval_interval"])),
            (f"{RELEASE_INTERVAL}, taken into account", coarse),
            (f"{RELEASE_INTERVAL}, ignored", coarse.drop(columns=["eval_interval"])),
        )
        for label, case in cases:
            for curve in fitted(case):
                record = curve.to_dict()
                numbers = [measured(record[part]) for part in ("c1", "c2", "critical_batch_size")]
                rows.append([group_name(record["group"]), label, *numbers])
    header = ["group", "steps between checks", "c1", "c2", "c1/c2"]
    return markdown(header, rows) if rows else "No study is finished."


def fitted(table: pd.DataFrame) -> list[CurveFit]:
    """Return the curves of the groups with at least two batch sizes."""
    count = table.groupby("sparsity")["batch_size"].transform("size")
    if not (count > 1).any():
        return []
    result = fit(table[count > 1])
    return list(result.fits)


def parts() -> str:
    """Print the measured parts of c1."""
    rows = []
    for name in WORKLOADS:
        found = load_json(f"{name}/decomposition.json")
        if found is None:
            continue
        settings = found["settings"]
        run = f"η = {settings['metaparameters']['learning_rate']:g}, B = {settings['batch_size']}, "
        run += f"{settings['steps']} steps, every {settings['every']}; {len(found['seeds'])} seeds"
        for entry in (found["dense"], *found["sparse"]):
            numbers = [
                measured(entry[part]) for part in ("delta", "smoothness", "smoothness_initial", "beta")
            ]
            ratios = entry.get("ratios", {})
            over = [measured(ratios[part]) if ratios else "1" for part in ("c1", "c1_own_epsilon")]
            reached, of = entry["reached"]
            rows.append([name.upper(), f"{entry['sparsity']:g}", *numbers, *over, f"{reached} of {of}", run])
    header = ["workload", "sparsity", "Δ", "mean L", "L at step 1", "β at step 1"]
    header += ["c1 over dense, ε equal", "own ε", "goal reached", "run"]
    return markdown(header, rows) if rows else "Not measured yet."


def predicted() -> str:
    """Print c1 and c2 from the measured parts beside those of the fits."""
    rows = []
    names = {"c1_own_epsilon": "c1", "c2": "c2", "critical_batch_size": "critical_batch_size"}
    for name in WORKLOADS:
        parts, fitted = (load_json(f"{name}/{file}.json") for file in ("decomposition", "fit"))
        if parts is None or fitted is None:
            continue
        curves = {curve["group"]["sparsity"]: curve for curve in fitted["fits"]}
        for entry in (parts["dense"], *parts["sparse"]):
            curve = curves.get(entry["sparsity"], {})
            if curve.get("c1", {}).get("value") is None:
                continue
            row = [name.upper(), f"{entry['sparsity']:g}"]
            for part, own in names.items():
                row += [measured(entry[part]), measured(curve[own])]
            rows.append(row)
    header = ["workload", "sparsity", "c1 predicted", "fitted", "c2 predicted", "fitted"]
    return markdown([*header, "c1/c2 predicted", "fitted"], rows) if rows else "Not measured yet."


def made() -> dict[str, str]:
    """Return the text of every region."""
    return {
        "state": state(),
        "claims": markdown(["claim", "the paper", "here", "verdict"], all_claims()),
        "steps": steps(),
        "fits": fits(),
        "shapes": shapes(),
        "front": front(),
        "seeds": seeds(),
        "luck": luck(),
        "parts": parts(),
        "predicted": predicted(),
        "trial_count": trial_count(),
        "interval": interval(),
        "cost": cost(),
        "estimate": estimate(),
        "savings": savings(),
    }


def fill(text: str, texts: dict[str, str]) -> str:
    """Return a page with its regions made anew."""
    return REGION.sub(lambda match: f"{match[1]}{texts[match[2]]}\n{match[3]}", text)


if __name__ == "__main__":
    regions = made()
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), regions), encoding="utf-8")
