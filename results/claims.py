"""The paper's claims, one function each: what it says, what was found here, and whether that is the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
from found import (
    SPARSITIES,
    WORKLOADS,
    Record,
    claims,
    contains,
    group_name,
    load_json,
    load_table,
    measured,
    together,
    universal_trend,
)
from scipy.stats import linregress, t

Row = tuple[str, str, str, str]
NO_CAP = "Capped trials do not show where they would have ended; it takes a sweep with `--no-cap`"


def judged(claim: str, paper: str, name: str) -> Row:
    """Return the row of a claim that `sparsefit validate` judges; groups that share its answer together."""
    found = list(claims(name))
    ours = by_answer(found, lambda each: f"{each['verdict']} ({each['reason'].rstrip('.')})")
    return claim, paper, ours or "no finished studies", together(each["verdict"] for each in found)


def brief(claim: str, paper: str, name: str) -> Row:
    """Return the row of a claim that `sparsefit validate` judges, with reasons where one fails."""
    found = list(claims(name))
    ours = by_answer(
        found,
        lambda each: (
            f"fails ({each['reason'].rstrip('.')})" if each["verdict"] == "fails" else each["verdict"]
        ),
    )
    return claim, paper, ours or "no finished studies", together(each["verdict"] for each in found)


def name_of(claim: Record) -> str:
    """Name the group that a claim speaks of."""
    return group_name(claim["group"])


def by_answer(
    found: Iterable[Record], answer: Callable[[Record], str], name: Callable[[Record], str] = name_of
) -> str:
    """Return each answer behind the groups that share it."""
    groups: dict[str, list[str]] = {}
    for each in found:
        groups.setdefault(answer(each), []).append(name(each))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in groups.items())


def judged_uncapped(claim: str, paper: str, name: str) -> Row:
    """Return the row of a claim that takes trials without caps, from `sparsefit validate` of them."""
    parts, verdicts = [], []
    for workload in WORKLOADS:
        for found in (load_json(f"{workload}/uncapped.json") or {"claims": []})["claims"]:
            if found["name"] == name and found["details"]:
                sizes = ", ".join(f"{row['batch_size']:g}" for row in found["details"])
                where = f"{group_name(found['group'])}, B = {sizes}"
                parts.append(f"{where}: {found['verdict']} ({found['reason'].rstrip('.')})")
                verdicts.append(found["verdict"])
    return claim, paper, "; ".join(parts) or NO_CAP, together(verdicts)


def trend() -> Row:
    """Judge whether the curve is the same at every sparsity; the tables of fits and of shapes have more."""
    found = list(claims("hyperbola"))
    shared = universal_trend()
    alone = f"each alone: {by_answer(found, lambda each: each['verdict'])}"
    return (
        "K\\* = c1/B + c2 at every sparsity",
        "a universal trend (Fig. 1)",
        f"exponent of all together {measured(shared)}; {alone}"
        if shared and found
        else "no finished studies",
        together([shared["verdict"]] if shared else []),
    )


def slowdown() -> Row:
    """Compare steps at 90 % and dense, all batch sizes together."""
    found = [c for c in claims("sparse_over_dense", sparsity=0.9) if c["value"] is not None]
    verdicts = []
    for claim in found:
        low, high = claim["low"], claim["high"]
        inside = low is not None and high is not None and low >= 2 and high <= 4
        outside = (high is not None and high < 2) or (low is not None and low > 4)
        verdicts.append("same" if inside else "different" if outside else "cannot tell")
    ours = "; ".join(f"{c['group']['workload'].upper()}: {measured(c)}×" for c in found)
    return (
        "90 % sparse takes longer",
        "2–4× (Section 2.2)",
        ours or "no finished pair of studies",
        together(verdicts),
    )


def figure_12() -> Row:
    """Compare steps at 90 % and dense at each batch size."""
    found = [claim for claim in claims("sparse_over_dense", sparsity=0.9) if claim["value"] is not None]

    def ends(claim: Record) -> str:
        rows = claim["details"]
        return " to ".join(f"{row['value']:.3g} at B = {row['batch_size']:g}" for row in (rows[0], rows[-1]))

    ours = "; ".join(f"{c['group']['workload'].upper()}: {c['verdict']}, {ends(c)}" for c in found)
    verdict = together(claim["verdict"] for claim in found)
    return "ratio at each B", "1.5 to 4.5 (Fig. 12)", ours or "no finished pair of studies", verdict


def falling() -> Row:
    """Judge whether the ratio falls as B grows."""
    parts, verdicts = [], []
    for claim in claims("sparse_over_dense", sparsity=0.9):
        rows = [row for row in claim["details"] if row["value"] is not None]
        if len(rows) < 3:
            continue
        x, y = (np.log([row[name] for row in rows]) for name in ("batch_size", "value"))
        line = linregress(x, y)
        reach = float(t.ppf(0.975, len(rows) - 2)) * line.stderr
        slope: Record = {"value": line.slope, "low": line.slope - reach, "high": line.slope + reach}
        parts.append(f"{claim['group']['workload'].upper()}: as B to the power {measured(slope)}")
        verdicts.append("same" if slope["high"] < 0 else "different" if slope["low"] > 0 else "cannot tell")
    ours = "; ".join(parts) or "no finished pair of studies"
    return "the ratio falls with B", "yes, most with momentum", ours, together(verdicts)


def critical_w2() -> Row:
    """Compare where linear scaling breaks down in W2."""
    fit = load_json("w2/fit.json")
    found = {f["group"]["sparsity"]: f["critical_batch_size"] for f in fit["fits"]} if fit else {}
    ours = "; ".join(
        f"{'dense' if s == 0 else f'{100 * s:g} %'} c1/c2 = {measured(found[s])}"
        for s in (0.0, 0.9)
        if s in found
    )
    ratios = list(claims("critical_batch_size_sparse", sparsity=0.9, workload="w2"))
    ours += "".join(f"; ratio {measured(c)}" for c in ratios)
    return (
        "W2: critical batch size grows with sparsity",
        "about 2^9 dense, 2^11 at 90 %: 4× (Fig. 1, by eye)",
        ours or "no finished studies",
        together(contains(c, 4.0) for c in ratios),
    )


def momentum() -> Row:
    """Compare the critical batch sizes with momentum and without."""
    return judged(
        "momentum has a larger critical batch size",
        "at every sparsity (Fig. 2)",
        "critical_batch_size_momentum",
    )


def best_rates() -> Iterator[Row]:
    """Say where the winners of W2 lie in the search space.

    A best value is known no better than to its neighbours among those that were tried.
    """
    winners, trials = load_table("w2/counted.csv"), load_table("w2/trials.csv")
    paper = {
        "learning_rate": ("about 1e-2", 10**-2.5, 10**-1.5),
        "momentum": ("a little over 0.9", 0.9, 0.95),
    }
    for name, (said, low, high) in paper.items():
        ours, verdict = "no finished studies", "no data yet"
        if winners is not None and trials is not None:
            best = winners[name].dropna()
            tried = trials[name]
            below = tried[tried < best.min()].max()
            above = tried[tried > best.max()].min()
            ours = f"{best.min():.3g} to {best.max():.3g} in {len(best)} studies"
            near = [f"{value:.3g}" for value in (below, above) if pd.notna(value)]
            ours += f"; the nearest others that were tried: {' and '.join(near) or 'none'}"
            apart = above < low or below > high
            verdict = "same" if best.between(low, high).all() else "different" if apart else "cannot tell"
        yield f"W2: best {name.replace('_', ' ')}", said, ours, verdict


def growing_rates() -> Row:
    """Say as which power of B the best learning rate grows, and where that is for sure."""
    found = list(claims("learning_rate_grows"))

    def with_power(claim: Record) -> str:
        return name_of(claim) + (f" {measured(claim, '{:.2f}')}" if claim["value"] is not None else "")

    ours = by_answer(found, lambda each: each["verdict"], with_power)
    verdict = together(claim["verdict"] for claim in found)
    return "best learning rate grows as a power of B", "it grows (Section 2.3)", ours, verdict


def inside() -> Row:
    """Say whether the winners' learning rates lie inside the search range, and inside what was tried."""
    parts, verdicts = [], []
    for name in WORKLOADS:
        winners, trials = load_table(f"{name}/counted.csv"), load_table(f"{name}/trials.csv")
        if winners is None or trials is None:
            continue
        definition = next(iter((load_json(f"{name}/definition.json") or {}).values()))
        space = definition["workload"]["search_space"]["learning_rate"]
        rates = winners["learning_rate"].dropna()
        low, high = np.log([space["min_value"], space["max_value"]])
        place = (np.log(rates) - low) / (high - low)
        edge = int(rates.isin([trials["learning_rate"].min(), trials["learning_rate"].max()]).sum())
        said = f"{name.upper()}: {rates.min():.3g} to {rates.max():.3g} of {space['min_value']:g} to "
        said += f"{space['max_value']:g}"
        if edge:
            said += f"; {edge} of {len(rates)} have the largest or smallest rate that was tried, "
            said += "which `sparsefit validate` counts as the edge"
        parts.append(said)
        verdicts.append(
            "different" if ((place < 0.05) | (place > 0.95)).any() else "cannot tell" if edge else "same"
        )
    ours = "; ".join(parts) or "no finished studies"
    return "winners inside the search range", "yes (Section 2.3)", ours, together(verdicts)


def smoothness(workload: str, model: str, means: tuple[float, ...]) -> Iterator[Row]:
    """Compare mean L along training, and its ratio to dense."""
    parts = load_json(f"{workload}/decomposition.json")
    said = ", ".join(f"{mean:g}" for mean in means)
    claim = f"{model}: mean L at {', '.join(f'{100 * s:g}' for s in SPARSITIES)} %"
    if parts is None:
        yield claim, said, "not measured yet", "no data yet"
        return
    found = {0.0: parts["dense"], **{entry["sparsity"]: entry for entry in parts["sparse"]}}
    ours = ", ".join(measured(found[s]["smoothness"]) if s in found else "not measured" for s in SPARSITIES)
    known = [found[s]["smoothness"] for s in SPARSITIES if s in found]
    falls = any(later["high"] < earlier["low"] for earlier, later in itertools.combinations(known, 2))
    rises = [entry["value"] for entry in known] == sorted(entry["value"] for entry in known)
    order = "different order" if falls else "same order, other values" if rises else "cannot tell"
    yield claim, said, ours, order
    for entry in parts["sparse"]:
        mean = means[SPARSITIES.index(entry["sparsity"])] / means[0]
        ratio = entry["ratios"]["smoothness"]
        at = f"{100 * entry['sparsity']:g} %"
        yield f"{model}: L at {at} over dense", f"{mean:.2f}", measured(ratio), contains(ratio, mean)


def other_parts() -> Iterator[Row]:
    """Compare Δ, β and the product at 90 %."""
    parts = load_json("w1/decomposition.json")
    entry = next((e for e in (parts or {"sparse": []})["sparse"] if e["sparsity"] == 0.9), None)
    for name, said, number in (("delta", "1.00", 4.68 / 4.66), ("beta", "0.54", 107.39 / 197.06)):
        claim = f"Simple-CNN: {'Δ' if name == 'delta' else 'β'} at 90 % over dense"
        if entry is None:
            yield claim, said, "not measured yet", "no data yet"
        else:
            ratio = entry["ratios"][name]
            yield claim, said, measured(ratio), contains(ratio, number)
    claim = "product ΔLβ at 90 % over dense"
    if entry is None:
        yield claim, "1.67", "not measured yet", "no data yet"
    else:
        yield claim, "1.67", measured(entry["ratios"]["c1"]), contains(entry["ratios"]["c1"], 1.67)
    found = list(claims("c1_ratio"))
    ours = by_answer(found, lambda each: f"{each['verdict']} ({each['reason'].split('. ')[0]})")
    verdict = together(each["verdict"] for each in found)
    yield "the product explains the fitted ratio of c1", "roughly (App. C)", ours or "not fitted yet", verdict


def all_claims() -> list[Row]:
    """Return every claim in the order of the paper."""
    return [
        trend(),
        slowdown(),
        figure_12(),
        falling(),
        critical_w2(),
        brief("larger batches predicted from smaller ones", "by Eq. 6", "scaling_prediction"),
        brief("three regimes of data parallelism", "seen in Fig. 1", "regimes"),
        judged(
            "critical batch size of sparse networks", "no smaller (Section 2.2)", "critical_batch_size_sparse"
        ),
        momentum(),
        *best_rates(),
        growing_rates(),
        inside(),
        judged_uncapped(
            "linear boundary between complete and incomplete trials",
            "seen in Fig. 3",
            "metaparameter_boundary",
        ),
        judged_uncapped(
            "range of successful learning rates shrinks with sparsity", "Fig. 4", "learning_rate_range"
        ),
        *smoothness("w1", "Simple-CNN", (0.57, 0.72, 0.81, 1.76)),
        *smoothness("w4", "ResNet-8", (3.87, 8.74, 9.54, 11.18)),
        *other_parts(),
    ]
