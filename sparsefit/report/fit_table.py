"""A fit as tables and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sparsefit.fitting.results import CurveFit, FitResult, Ratio, Regime
from sparsefit.report.terminal import cell, digits, grouped, lead, named, plain, varying

REGIMES = {
    "linear_scaling": "linear scaling",
    "diminishing_returns": "diminishing returns",
    "maximal_data_parallelism": "maximal data parallelism",
}

MODELS = {
    "hyperbola": "c1/B + c2",
    "constant": "constant",
    "linear": "c1/B",
    "power": "power law",
    "power_plateau": "c1/B^a + c2",
    "smooth_knee": "smooth knee",
    "two_segments": "max(c1/B, c2)",
    "envelope": "envelope",
}

WORDS = {"consistent": "consistent", "rejected": "REJECTED", "undetermined": "cannot tell"}


def render(result: FitResult) -> Group:
    """Return everything that ``sparsefit fit`` prints.

    Parameters
    ----------
    result : FitResult
    """
    keys = varying([fit.group for fit in result.fits])
    parts: list[RenderableType] = [Text(sentence) for sentence in headline(result)]
    parts += ["", fit_table(result.fits, keys)]
    parts += ["", regime_table(result.fits, keys)]
    if any(fit.models for fit in result.fits):
        parts += ["", model_table(result.fits, keys)]
    parts += ["", *(Text(sentence(fit, keys)) for fit in result.fits)]
    if result.ratios:
        parts += ["", ratio_table(result.ratios, keys)]
    warnings = [f"warning: {warning}" for warning in result.warnings]
    warnings += [f"warning: {lead(fit.group, keys)}{text}" for fit in result.fits for text in fit.warnings]
    if warnings:
        parts += ["", *(Text(warning) for warning in warnings)]
    return Group(*parts)


def headline(result: FitResult) -> list[str]:
    """Say what was read and how its columns were understood."""
    about = result.input
    source = about.get("path") or "table"
    source = "standard input" if source == "-" else source
    name = "trials" if about.get("level") == "trials" else "rows"
    said = [f"K* = c1/B + c2: {source}, {about['rows']:,} {name}; {100 * result.confidence:g} % intervals"]
    columns = f"columns: B = {about['batch_column']}, K* = {about['steps_column']}"
    columns += f"; grouped by {', '.join(about['by'])}" if about["by"] else "; one group"
    said.append(columns + (f"; ignored {', '.join(about['ignored'])}" if about["ignored"] else ""))
    groups = [fit.group for fit in result.fits]
    common = [name for name in groups[0] if name not in varying(groups)]
    if common:
        lead = "all groups" if len(groups) > 1 else "the group"
        said.append(f"{lead}: " + ", ".join(f"{name} {plain(groups[0][name])}" for name in common))
    return said


def fit_table(fits: Iterable[CurveFit], keys: tuple[str, ...]) -> Table:
    """Return a row a group: what was fitted, and whether the model holds."""
    table = grouped(keys, ("n", "B", "c1", "c2", "c1/c2", "verdict"))
    for fit in fits:
        lost = f" ({fit.n_censored} not reached)" if fit.n_censored else ""
        low, high = fit.batch_size_range
        estimates = (cell(fit.c1), cell(fit.c2), cell(fit.critical_batch_size))
        size = f"{low:g}..{high:g}"
        table.add_row(*named(fit.group, keys), f"{fit.n_points}{lost}", size, *estimates, WORDS[fit.verdict])
    return table


def regime_table(fits: Iterable[CurveFit], keys: tuple[str, ...]) -> Table:
    """Return a row a group: where each regime lies and how many measured batch sizes are surely in it."""
    table = grouped(keys, REGIMES.values())
    for fit in fits:
        table.add_row(*named(fit.group, keys), *(stretch(fit.regimes[name]) for name in REGIMES))
    return table


def stretch(regime: Regime) -> str:
    """Return where a regime lies and how many batch sizes are in it."""
    if regime.begins is not None and regime.ends is not None:
        where = f"B {digits(regime.begins)} to {digits(regime.ends)}"
    elif regime.ends is not None:
        where = f"B up to {digits(regime.ends)}"
    elif regime.begins is not None:
        where = f"B from {digits(regime.begins)}"
    else:
        where = "not located"
    n = regime.n_batch_sizes
    return f"{where}: {n} measured" if n else f"{where}: none for sure"


def model_table(fits: Iterable[CurveFit], keys: tuple[str, ...]) -> Table:
    """Return a row a group: the distance of each model from the best, in AICc."""
    fits = tuple(fits)
    present = {model.name for fit in fits for model in fit.models}
    names = [name for name in (*MODELS, *sorted(present - set(MODELS))) if name in present]
    table = grouped(keys, [f"ΔAICc {MODELS.get(names[0], names[0])}", *(MODELS.get(n, n) for n in names[1:])])
    for name in ("rms log residual", "r(c1, c2)"):
        table.add_column(name, no_wrap=True)
    for fit in fits:
        far = {model.name: model.delta_aicc for model in fit.models}
        if far.get("hyperbola") is None:  # what is left would seem to have won
            far = {}
        distances = ("-" if far.get(name) is None else f"{far[name]:.1f}" for name in names)
        scatter = "-" if fit.rms_log_residual != fit.rms_log_residual else f"{fit.rms_log_residual:.3f}"
        related = "-" if fit.log_correlation is None else f"{fit.log_correlation:.2f}"
        table.add_row(*named(fit.group, keys), *distances, scatter, related)
    return table


def ratio_table(ratios: Iterable[Ratio], keys: tuple[str, ...]) -> Table:
    """Return a row a sparse group: what it has over its dense twin."""
    columns = ("c1 ratio", "c2 ratio", "c1/c2 ratio", "one factor on the whole curve")
    table = grouped(keys, columns, first="sparse / dense: ")
    for ratio in ratios:
        chance = "" if ratio.shared.p_value is None else f" (p = {ratio.shared.p_value:.2g})"
        cells = (cell(ratio.c1), cell(ratio.c2), cell(ratio.critical_batch_size))
        table.add_row(*named(ratio.group, keys), *cells, WORDS[ratio.shared.verdict] + chance)
    return table


def sentence(fit: CurveFit, keys: tuple[str, ...]) -> str:
    """Return the verdict and its reason."""
    return f"{lead(fit.group, keys)}{WORDS[fit.verdict]}. {fit.verdict_reason}"
