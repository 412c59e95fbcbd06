"""The decomposition of c1 as tables and sentences for the terminal: the paper's Appendix C."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sparsefit.fitting.decomposition import Decomposition, Network
from sparsefit.fitting.fit_file import FittedParts
from sparsefit.report.terminal import cell, new_table

PARTS = {
    "delta": "Δ = 2(f(w₁) − f∞)",
    "smoothness": "L, mean over training",
    "beta": "β at step 1",
}
"""The rows of Appendix C."""

RATIOS = {"delta": "Δ", "beta": "β", "smoothness": "L", "c1": "c1 = ΔLβ (ε equal)"}

FURTHER_RATIOS = {
    "smoothness_max": "L, maximum",
    "epsilon": "ε",
    "c1_own_epsilon": "c1 with each network's own ε",
    "c2": "c2",
    "critical_batch_size": "c1/c2",
}

FURTHER = {
    "smoothness_initial": "L at step 1",
    "smoothness_max": "L, maximum",
    "beta_mean": "β, mean over training",
    "gradient_squared_norm": "‖∇f‖² at step 1",
    "noise_scale": "simple noise scale β/‖∇f‖² at step 1",
    "epsilon": "ε = mean of ‖∇f‖² up to the goal",
    "goal_step": "step at the goal",
    "c1_own_epsilon": "predicted c1 = ΔLβ/(μ²ε²)",
    "c2": "predicted c2 = Δ/(ημε)",
    "critical_batch_size": "predicted c1/c2 = ηLβ/(με)",
    "second_moment_slope": "M_G",
    "learning_rate_bound": "bound of η: μ/(L·M_G), L maximum",
    "mu": "μ = ⟨g, ∇f⟩/‖∇f‖² of mini-batches",
    "batch_variance_ratio": "B‖g − ∇f‖²/β of mini-batches",
}

FITTED = {"c1": "fitted c1", "c2": "fitted c2", "critical_batch_size": "fitted c1/c2"}


def render(decomposition: Decomposition, fitted: FittedParts | None = None, *, layers: bool = False) -> Group:
    """Return everything that ``sparsefit decompose`` prints.

    Parameters
    ----------
    decomposition : Decomposition
    fitted : FittedParts, optional
        Rows of fitted c1, c2 and c1/c2 beside the predicted ones.
    layers : bool
        Add the share of each layer in β and in the curvature along the step.
    """
    networks = (decomposition.dense, *decomposition.sparse)
    parts: list[RenderableType] = [Text(headline(decomposition))]
    parts += ["", quantity_table("", networks, PARTS), "", ratio_table(decomposition.sparse, RATIOS)]
    parts += ["", *(Text(product(network)) for network in decomposition.sparse)]
    if any(name in network.quantities for network in networks for name in FURTHER):
        parts += ["", quantity_table("measured and predicted", networks, FURTHER, fitted)]
        parts += ["", ratio_table(decomposition.sparse, FURTHER_RATIOS, fitted)]
    elif fitted is not None:
        parts += ["", quantity_table("fitted", networks, {}, fitted)]
        parts += ["", ratio_table(decomposition.sparse, {}, fitted)]
    if layers:
        parts += ["", layer_table(networks)]
    parts += ["", *(Text(sentence) for sentence in remarks(decomposition))]
    return Group(*parts)


def headline(decomposition: Decomposition) -> str:
    """Say what is shown."""
    text = f"c1 = ΔLβ/(μ²ε²): what sparsity changes on {decomposition.workload}"
    if not decomposition.seeds:
        return f"{text}\nsource: {decomposition.source}" if decomposition.source else text
    n = len(decomposition.seeds)
    if n == 1:
        return f"{text}; 1 seed, hence no intervals"
    return f"{text}; {n} seeds, {100 * decomposition.confidence:g} % intervals over seeds"


def quantity_table(
    title: str,
    networks: Sequence[Network],
    rows: dict[str, str],
    fitted: FittedParts | None = None,
) -> Table:
    """Return a row a quantity and a column a network."""
    table = new_table(title, [name_of(network) for network in networks])
    for name, label in rows.items():
        cells = [cell(network.quantities.get(name)) for network in networks]
        if any(cells):
            table.add_row(label, *cells)
    if fitted is not None:
        for name, label in FITTED.items():
            table.add_row(
                label, *(cell(fitted.by_sparsity.get(network.sparsity, {}).get(name)) for network in networks)
            )
    return table


def ratio_table(
    networks: Sequence[Network], rows: dict[str, str], fitted: FittedParts | None = None
) -> Table:
    """Return a row a ratio and a column a sparsity."""
    table = new_table("sparse / dense", [name_of(network) for network in networks])
    for name, label in rows.items():
        cells = [cell(network.ratios.get(name)) for network in networks]
        if any(cells):
            table.add_row(label, *cells)
    if fitted is not None:
        for name, label in FITTED.items():
            table.add_row(
                label, *(cell(fitted.ratios.get(network.sparsity, {}).get(name)) for network in networks)
            )
    return table


def layer_table(networks: Sequence[Network]) -> Table:
    """Return the shares of layers in percent, β before curvature."""
    table = new_table("share of each layer", [name_of(network) for network in networks])
    labels = {"beta": "β", "smoothness": "curvature along the step (L²)"}
    for part, label in labels.items():
        for layer in networks[0].layers.get(part, {}):
            shares = [network.layers.get(part, {}).get(layer) for network in networks]
            table.add_row(
                f"{label}: {layer}", *("" if share is None else f"{100 * share:.1f} %" for share in shares)
            )
    if not table.row_count:
        table.add_row("not in these data")
    return table


def name_of(network: Network) -> str:
    """Return the heading of a column."""
    return f"sparsity {network.sparsity:g}" if network.sparsity else "dense"


def product(network: Network) -> str:
    """Multiply the ratios, as they are and rounded to two decimals as the paper prints them."""
    factors = [network.ratios[name].value for name in ("delta", "beta", "smoothness")]
    rounded = [round(factor, 2) for factor in factors]
    exact = " × ".join(f"{factor:.3f}" for factor in factors)
    short = " × ".join(f"{factor:.2f}" for factor in rounded)
    return (
        f"sparsity {network.sparsity:g}: c1,s/c1,d = Δ·β·L = {exact} = {network.ratios['c1'].value:.3f}; "
        f"rounded first, as the paper prints it: {short} = {rounded[0] * rounded[1] * rounded[2]:.2f}"
    )


def remarks(decomposition: Decomposition) -> list[str]:
    """Say in sentences what the checks found and which choices stand behind the numbers."""
    said = []
    networks = (decomposition.dense, *decomposition.sparse)
    for network in networks:
        name = name_of(network)
        mu = network.quantities.get("mu")
        if mu is not None and mu.low is not None and mu.high is not None:
            verdict = "does not contradict" if mu.low <= 1 <= mu.high else "CONTRADICTS"
            said.append(f"{name}: μ = {cell(mu)} {verdict} unbiased mini-batches; μ = 1 is used")
        bound = network.quantities.get("learning_rate_bound")
        rate = decomposition.settings.get("metaparameters", {}).get("learning_rate")
        if bound is not None and isinstance(rate, int | float):
            verdict = "holds" if rate <= bound.value else "FAILS"
            said.append(f"{name}: the condition η ≤ μ/(L·M_G) {verdict}: η = {rate:g}, bound {cell(bound)}")
        reached, seeds = network.reached or (0, 0)
        if reached < seeds and "epsilon" in network.quantities:
            rest = "for the others" if reached else "so"
            said.append(
                f"{name}: goal reached on {reached} of {seeds} seeds; {rest} ε is the mean over all steps"
            )
    if settings := decomposition.settings:
        said.append("choices: " + ", ".join(f"{name} {plain(value)}" for name, value in settings.items()))
    return said


def plain(value: object) -> str:
    """Return a setting in words."""
    if value is None:
        return "all"
    if isinstance(value, dict):
        return " ".join(f"{name}={plain(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        return " ".join(plain(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
