"""Claims about the search: the best learning rate over batch sizes, and the range of those that succeed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit
from scipy.stats import linregress

from sparsefit.fitting.cells import identity, positive
from sparsefit.fitting.claims import claim
from sparsefit.fitting.columns import Columns, normalise
from sparsefit.fitting.curves import Array
from sparsefit.fitting.results import Ratio
from sparsefit.fitting.results_records import Estimate
from sparsefit.fitting.statuses import statuses
from sparsefit.fitting.trials import trial_cells
from sparsefit.fitting.validation_records import Claim, Judgement

if TYPE_CHECKING:
    import pandas as pd

LEARNING_RATE = ("learning_rate", "lr", "eta", "initial_learning_rate")
MOMENTUM = ("momentum",)
EDGE = 0.05
"""Share of the range of learning rates, on the log scale, that counts as its edge at each end."""

LEAST_RATES = 10
"""Of fewer different learning rates an end is the best one by chance too often to call that an edge."""

SWAPS = 2000
SEED = 0

NEEDS_TRIALS = "The table has no row a trial; write one with: sparsefit collect SWEEP --trials"
NEEDS_RATES = "The table has no column of learning rates (learning_rate, lr)."


class Search:
    """The trials of a table, or its best ones: batch size, status, steps, learning rate and momentum.

    Parameters
    ----------
    cells : DataFrame
        As read, all text.
    columns : Columns
    """

    def __init__(self, cells: pd.DataFrame, columns: Columns) -> None:
        import pandas as pd

        self.by = list(columns.by)
        trial = columns.optional.get("trial")
        taken = {columns.batch_size, columns.steps, *columns.optional.values()}
        free = [name for name in cells.columns if name not in taken]
        self.rate = next((name for name in free if normalise(name) in LEARNING_RATE), None)
        self.momentum = next((name for name in free if normalise(name) in MOMENTUM), None)
        steps = pd.to_numeric(cells[columns.steps], errors="coerce").to_numpy(float)
        frame = pd.DataFrame({f"by {name}": identity(cells[name]) for name in columns.by}, index=cells.index)
        frame["batch_size"] = positive(cells, columns.batch_size)
        frame["status"] = statuses(cells, columns, steps)
        frame["steps"] = steps
        frame["trial"] = trial_cells(cells, columns)
        frame["rate"] = positive(cells, self.rate, empty=True) if self.rate else np.nan
        momentum = pd.to_numeric(cells[self.momentum], errors="coerce") if self.momentum else np.nan
        frame["momentum"] = momentum
        frame.loc[~frame["momentum"].between(0, 1, inclusive="left"), "momentum"] = np.nan
        if frame["momentum"].isna().all():
            self.momentum = None
        self.has_trials = trial is not None or columns.by_setting
        self.table = frame[frame["rate"].notna()]

    def of(self, group: Mapping[str, Any]) -> pd.DataFrame:
        """Return the rows of one group."""
        found = self.table
        for name in self.by:
            found = found[found[f"by {name}"] == group[name]]
        return found

    def lacks(self, *groups: Mapping[str, Any]) -> str | None:
        """Return what a claim on all trials of these groups misses; the winners alone will not do."""
        if not self.has_trials:
            return NEEDS_TRIALS
        if self.rate is None:
            return NEEDS_RATES
        found = [self.of(group)["trial"] for group in groups]
        return NEEDS_TRIALS if any(len(trials) and (trials == "").all() for trials in found) else None

    def best(self, group: Mapping[str, Any]) -> pd.DataFrame:
        """Return the row with the fewest steps for each batch size that reached the goal."""
        found = self.of(group)
        found = found[found["status"] == "reached"].sort_values(["batch_size", "steps"], kind="stable")
        return found.drop_duplicates("batch_size")


def learning_rate_grows(search: Search, group: Mapping[str, Any], confidence: float) -> Claim:
    """Judge the slope of the best learning rate over batch sizes; a row a study with its winner will do."""
    name = "learning_rate_grows"
    if search.rate is None:
        return claim(name, "cannot tell", NEEDS_RATES, group=group)
    best = search.best(group)
    if len(best) < 3:
        reason = f"Learning rates of {len(best)} batch sizes that reached the goal are known; 3 are needed."
        return claim(name, "cannot tell", reason, group=group)
    rows = [
        {"batch_size": size, "learning_rate": rate, "steps": steps}
        for size, rate, steps in best[["batch_size", "rate", "steps"]].itertuples(index=False)
    ]
    if best["rate"].nunique() == 1:
        reason = f"The best learning rate is {best['rate'].iloc[0]:.3g} at each of {len(best)} batch sizes."
        return claim(name, "cannot tell", reason, group=group, details=rows)
    x, y = np.log(best["batch_size"].to_numpy()), np.log(best["rate"].to_numpy())
    line = linregress(x, y)
    slope = round(float(line.slope), 12) + 0.0  # rates that cancel out leave a rounding error, or -0
    found = interval(slope, float(line.stderr), len(x) - 2, confidence)
    first, last = best.iloc[0], best.iloc[-1]
    reason = (
        f"From {first['rate']:.3g} at B = {first['batch_size']:g} to {last['rate']:.3g} at "
        f"B = {last['batch_size']:g}: as B^{slope:.2f}, {found.low:.2f} to {found.high:.2f}."
    )
    return claim(name, sign_of(found), reason, found, group=group, details=rows)


def learning_rate_inside(search: Search, group: Mapping[str, Any]) -> Claim:
    """Judge that no best learning rate lies at an end of the range of those tried in the group."""
    name = "learning_rate_inside"
    if missing := search.lacks(group):
        return claim(name, "cannot tell", missing, group=group)
    tried, best = search.of(group)["rate"], search.best(group)
    low, high = float(tried.min()), float(tried.max())
    if best.empty or not low < high:
        reason = "No trial reached the goal, or all have one learning rate."
        return claim(name, "cannot tell", reason, group=group)
    place = np.log(best["rate"].to_numpy() / low) / np.log(high / low)
    inside = (place >= EDGE) & (place <= 1 - EDGE)
    few = tried.nunique() < LEAST_RATES
    reason = f"{inside.sum()} of {len(best)} lie inside {low:.3g} to {high:.3g}"
    if not inside.all():
        at = ", ".join(f"{size:g}" for size in best["batch_size"].to_numpy()[~inside])
        reason += f"; at the edge for B = {at}: search a wider range"
        if few:
            reason += f", and more than {tried.nunique()} rates in it, of which an end is the best by chance"
    verdict: Judgement = "holds" if inside.all() else "cannot tell" if few else "fails"
    rows = [
        {"batch_size": size, "learning_rate": rate, "position": float(share), "inside": bool(ok)}
        for size, rate, share, ok in zip(best["batch_size"], best["rate"], place, inside, strict=True)
    ]
    number = Estimate(float(inside.mean()), None, None)
    return claim(name, verdict, f"{reason}.", number, group=group, details=rows)


def learning_rate_range(search: Search, ratio: Ratio, confidence: float) -> Claim:
    """Judge how many decades of learning rates reach the goal, sparse against dense.

    At each batch size the trials that both groups have are compared. A batch size with a capped trial is left
    out: whether that trial would have reached the goal is not known. A trial is lucky at many batch sizes, so
    the change is compared with those where some trials swap their two networks, at all batch sizes at once.
    """
    name, ends = "learning_rate_range", (ratio.group, ratio.reference)
    if missing := search.lacks(*ends):
        return claim(name, "cannot tell", missing, group=ends[0], reference=ends[1])
    sparse, dense = (search.of(group) for group in ends)
    both = sparse.merge(dense, on=["batch_size", "trial"], suffixes=("_sparse", "_dense"))
    rows: list[dict[str, Any]] = []
    capped = 0
    names = both["trial"].unique()
    swapped = np.random.default_rng(SEED).random((SWAPS, len(names))) < 0.5
    swapped[0] = False
    changes = np.zeros(SWAPS)
    for size, trials in both.groupby("batch_size"):
        if (trials[["status_sparse", "status_dense"]] == "capped").to_numpy().any():
            capped += 1
            continue
        rates = np.log10(trials[["rate_sparse", "rate_dense"]].to_numpy(float))
        rates[(trials[["status_sparse", "status_dense"]] != "reached").to_numpy()] = np.nan
        here = swapped[:, np.searchsorted(names, trials["trial"], sorter=names.argsort())]
        widths = [decades(np.where(here ^ other, *rates.T)) for other in (True, False)]
        if widths[0][0] or widths[1][0]:
            rows.append({"batch_size": size, "decades": widths[0][0], "decades_dense": widths[1][0]})
        changes += widths[0] - widths[1]
    if not rows:
        reason = "At no batch size did trials of both groups reach the goal"
        if capped:
            reason += f"; {capped} have trials that were capped: sweep with --no-cap"
        return claim(name, "cannot tell", f"{reason}.", group=ends[0], reference=ends[1], details=rows)
    chance = float((np.abs(changes) > abs(changes[0]) - 1e-9).mean())
    wide = [float(np.mean([row[key] for row in rows])) for key in ("decades_dense", "decades")]
    reason = (
        f"From {wide[0]:.2f} decades (dense) to {wide[1]:.2f} on average over {len(rows)} batch sizes; "
        f"p = {chance:.2g} by swapping the networks of {len(names)} trials."
    )
    narrower: Judgement = "holds" if changes[0] < 0 else "fails"
    return claim(
        name,
        narrower if chance < 1 - confidence else "cannot tell",
        reason,
        Estimate(wide[1] - wide[0], None, None),
        group=ends[0],
        reference=ends[1],
        p_value=chance,
        details=rows,
    )


def decades(rates: Array) -> Array:
    """Return the range in each row of log10 of learning rates, NaN where the goal was missed."""
    missed = np.isnan(rates)
    width = np.where(missed, -np.inf, rates).max(axis=1) - np.where(missed, np.inf, rates).min(axis=1)
    return np.maximum(width, 0.0)


def interval(value: float, error: float, free: int, confidence: float) -> Estimate:
    """Return Student's t interval."""
    half = float(stdtrit(free, (1 + confidence) / 2)) * error
    return Estimate(value, value - half, value + half)


def sign_of(found: Estimate) -> Judgement:
    """Return whether an interval lies above 0."""
    if found.low is not None and found.low > 0:
        return "holds"
    return "fails" if found.high is not None and found.high < 0 else "cannot tell"
