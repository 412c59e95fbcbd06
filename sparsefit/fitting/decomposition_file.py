"""Decompositions as JSON, schema ``sparsefit.decomposition/1``: written by sparsefit, or by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sparsefit import __version__
from sparsefit.errors import InputError
from sparsefit.fitting.decomposition import PARTS, Decomposition, Network
from sparsefit.fitting.json_fields import (
    as_count,
    as_json,
    as_list,
    as_number,
    as_object,
    as_positive,
    as_text,
    needed,
    read_json,
    refuse_unknown,
)
from sparsefit.quantity import Quantity
from sparsefit.trajectory import Point, Trajectory
from sparsefit.whole_file import write_whole

SCHEMA = "sparsefit.decomposition/1"

TOP_LEVEL = (
    "schema",
    "version",
    "workload",
    "source",
    "seeds",
    "confidence",
    "settings",
    "dense",
    "sparse",
    "trajectories",
)
NETWORK_EXTRAS = ("sparsity", "ratios", "layers", "reached")


def to_dict(decomposition: Decomposition) -> dict[str, Any]:
    """Return the content of a ``sparsefit.decomposition/1`` file: unrounded, an unknown end is None."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "workload": decomposition.workload,
        "source": decomposition.source,
        "seeds": list(decomposition.seeds),
        "confidence": decomposition.confidence,
        "settings": decomposition.settings,
        "dense": network_to_dict(decomposition.dense),
        "sparse": [network_to_dict(network) for network in decomposition.sparse],
        "trajectories": [trajectory_to_dict(trajectory) for trajectory in decomposition.trajectories],
    }


def network_to_dict(network: Network) -> dict[str, Any]:
    """Return one entry of ``sparse``, or ``dense``."""
    out: dict[str, Any] = {"sparsity": network.sparsity}
    out.update({name: quantity.to_dict() for name, quantity in network.quantities.items()})
    if network.ratios:
        out["ratios"] = {name: quantity.to_dict() for name, quantity in network.ratios.items()}
    out["layers"] = network.layers
    out["reached"] = None if network.reached is None else list(network.reached)
    return out


def trajectory_to_dict(trajectory: Trajectory) -> dict[str, Any]:
    """Return one entry of ``trajectories``."""
    points = [{**vars(point), "beta": point.beta.to_dict()} for point in trajectory.points]
    checks = {name: getattr(trajectory, name).to_dict() for name in ("mu", "batch_variance")}
    return {**vars(trajectory), "points": points, **checks}


def save(path: str | Path, decomposition: Decomposition) -> None:
    """Write the JSON file, whole or not at all: what an earlier seed left there is lost by no accident.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    try:
        write_whole(Path(path), as_json(to_dict(decomposition)).encode())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def load(path: str | Path) -> Decomposition:
    """Read a JSON file of this schema.

    Files written by hand need ``schema``, ``workload``, and ``delta``, ``smoothness`` and ``beta`` of
    ``dense`` and of each entry of ``sparse``, each a number or ``{"value", "low", "high", "n"}``. Ratios
    that are left out are those of the values.

    Raises
    ------
    InputError
        Unreadable, not JSON, another schema; a field that is missing, unknown or has a value that is not
        allowed: the message names the file and the field.
    """
    table = read_json(path)
    try:
        return from_dict(table)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def from_dict(table: Any) -> Decomposition:
    """Make a decomposition of what `to_dict` returned or a file holds."""
    top = as_object(table, "the file")
    if top.get("schema") != SCHEMA:
        raise InputError(f"schema: got {top.get('schema')!r}, allowed {SCHEMA!r}")
    refuse_unknown(top, TOP_LEVEL, "")
    dense = as_network(needed(top, "dense", ""), "dense", dense=None)
    if dense.sparsity:
        raise InputError(f"dense.sparsity: got {dense.sparsity:g}, allowed 0")
    entries = needed(top, "sparse", "")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"sparse: got {entries!r}, allowed a list of at least one object")
    sparse = [as_network(entry, f"sparse[{i}]", dense) for i, entry in enumerate(entries)]
    seen = [network.sparsity for network in sparse]
    if len(set(seen)) < len(seen):
        raise InputError(f"sparse: two entries have the same sparsity, got {seen}")
    confidence = as_number(top.get("confidence", 0.95), "confidence")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: got {confidence:g}, allowed above 0 and below 1")
    settings = as_object(top.get("settings", {}), "settings")
    as_object(settings.get("metaparameters", {}), "settings.metaparameters")
    seeds = as_list(top.get("seeds", []), "seeds")
    trajectories = as_list(top.get("trajectories", []), "trajectories")
    return Decomposition(
        workload=as_text(needed(top, "workload", ""), "workload"),
        seeds=tuple(as_count(seed, f"seeds[{i}]", least=0) for i, seed in enumerate(seeds)),
        dense=dense,
        sparse=tuple(sparse),
        settings=dict(settings),
        trajectories=tuple(as_trajectory(t, f"trajectories[{i}]") for i, t in enumerate(trajectories)),
        confidence=confidence,
        source=as_text(top.get("source", ""), "source"),
    )


def as_network(value: Any, where: str, dense: Network | None) -> Network:
    """Read ``dense`` (with `dense` None) or an entry of ``sparse``."""
    table = as_object(value, where)
    given_sparsity = table.get("sparsity", 0.0) if dense is None else needed(table, "sparsity", where)
    sparsity = as_number(given_sparsity, f"{where}.sparsity")
    if dense is not None and not 0 < sparsity < 1:
        raise InputError(
            f"{where}.sparsity: got {sparsity:g}, allowed above 0 and below 1: the share of zeros"
        )
    for part in PARTS:
        needed(table, part, where)
    quantities = {
        name: as_quantity(entry, f"{where}.{name}", as_number if name == "mu" else as_positive)
        for name, entry in table.items()
        if name not in NETWORK_EXTRAS
    }
    ratios = {}
    if dense is not None:
        given = as_object(table.get("ratios", {}), f"{where}.ratios")
        ratios = ratios_of_values(quantities, dense.quantities)
        ratios |= {name: as_quantity(entry, f"{where}.ratios.{name}") for name, entry in given.items()}
    layers = {
        part: as_shares(shares, f"{where}.layers.{part}")
        for part, shares in as_object(table.get("layers", {}), f"{where}.layers").items()
    }
    reached = table.get("reached")
    if reached is not None:
        counts = as_list(reached, f"{where}.reached")
        if len(counts) != 2:
            raise InputError(
                f"{where}.reached: got {reached!r}, allowed [seeds that reached the goal, seeds]"
            )
        reached = (as_count(counts[0], f"{where}.reached", 0), as_count(counts[1], f"{where}.reached", 1))
    return Network(sparsity, quantities, ratios, layers, reached)


def ratios_of_values(sparse: Mapping[str, Quantity], dense: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return the ratios that the values alone give: no interval, since nothing pairs them."""
    ratios = {part: Quantity(sparse[part].value / dense[part].value) for part in PARTS}
    return {**ratios, "c1": Quantity(math.prod(ratio.value for ratio in ratios.values()))}


def as_quantity(value: Any, where: str, read: Callable[[Any, str], float] = as_positive) -> Quantity:
    """Read a number, or ``{"value", "low", "high", "n"}`` of which all but the first may be left out.

    μ, read by `as_number`, may be 0 or less: it is measured on a few mini-batches.
    """
    if not isinstance(value, dict):
        return Quantity(read(value, where))
    refuse_unknown(value, ("value", "low", "high", "n"), where)
    low, high = (
        None if value.get(end) is None else as_number(value[end], f"{where}.{end}") for end in ("low", "high")
    )
    n = value.get("n")
    number = read(needed(value, "value", where), f"{where}.value")
    if (low is not None and low > number) or (high is not None and high < number):
        raise InputError(f"{where}: the value {number:g} lies outside its interval, {low} to {high}")
    return Quantity(number, low, high, None if n is None else as_count(n, f"{where}.n", least=1))


def as_trajectory(value: Any, where: str) -> Trajectory:
    """Read an entry of ``trajectories``."""
    table = as_object(value, where)
    refuse_unknown(table, tuple(Trajectory.__dataclass_fields__), where)
    entries = as_list(needed(table, "points", where), f"{where}.points")
    points = tuple(as_point(entry, f"{where}.points[{i}]") for i, entry in enumerate(entries))
    norms, goal_step = needed(table, "squared_norms", where), table.get("goal_step")
    return Trajectory(
        seed=as_count(needed(table, "seed", where), f"{where}.seed", least=0),
        sparsity=as_number(needed(table, "sparsity", where), f"{where}.sparsity"),
        learning_rate=as_positive(needed(table, "learning_rate", where), f"{where}.learning_rate"),
        batch_size=as_count(needed(table, "batch_size", where), f"{where}.batch_size", least=1),
        points=points,
        squared_norms=tuple(
            as_number(norm, f"{where}.squared_norms") for norm in as_list(norms, f"{where}.squared_norms")
        ),
        goal_step=None if goal_step is None else as_count(goal_step, f"{where}.goal_step", least=1),
        mu=as_quantity(needed(table, "mu", where), f"{where}.mu", as_number),
        batch_variance=as_quantity(needed(table, "batch_variance", where), f"{where}.batch_variance"),
    )


def as_point(value: Any, where: str) -> Point:
    """Read one measured step."""
    table = as_object(value, where)
    refuse_unknown(table, tuple(Point.__dataclass_fields__), where)
    curve = as_list(needed(table, "smoothness_curve", where), f"{where}.smoothness_curve")
    return Point(
        step=as_count(needed(table, "step", where), f"{where}.step", least=1),
        loss=as_number(needed(table, "loss", where), f"{where}.loss"),
        gradient_squared_norm=as_positive(
            needed(table, "gradient_squared_norm", where), f"{where}.gradient_squared_norm"
        ),
        smoothness=as_positive(needed(table, "smoothness", where), f"{where}.smoothness"),
        smoothness_curve=tuple(as_number(ratio, f"{where}.smoothness_curve") for ratio in curve),
        beta=as_quantity(needed(table, "beta", where), f"{where}.beta"),
        smoothness_layers=as_shares(needed(table, "smoothness_layers", where), f"{where}.smoothness_layers"),
        beta_layers=as_shares(needed(table, "beta_layers", where), f"{where}.beta_layers"),
    )


def as_shares(value: Any, where: str) -> dict[str, float]:
    """Read the shares of layers by name."""
    return {layer: as_number(share, f"{where}.{layer}") for layer, share in as_object(value, where).items()}
