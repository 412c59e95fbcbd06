"""The parts of c1 = ΔLβ/(μ²ε²) (Proposition 3.1 of Lee et al.), from measurements along training.

`sparsefit.experiment` measures trajectories; here they become Δ, L, β and ε over seeds, what these predict
for c1 and c2, and the ratios of sparse to dense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsefit.errors import InputError
from sparsefit.quantity import Quantity, geometric_mean, mean_interval
from sparsefit.trajectory import Trajectory

PARTS = ("delta", "smoothness", "beta")
"""The parts of c1 that sparsity can change, in the paper's order."""

RATIOS = (*PARTS, "c1", "smoothness_max", "epsilon", "c1_own_epsilon", "c2", "critical_batch_size")
"""Ratios of sparse to dense; ``c1`` is the paper's ΔLβ with one ε, ``c1_own_epsilon`` lets ε differ too."""

MU = 1.0
"""μ of an unbiased gradient; `sparsefit.trajectory.Trajectory.mu` holds the check."""


@dataclass(frozen=True)
class Network:
    """One network (dense, or of one sparsity) over the seeds.

    Attributes
    ----------
    sparsity : float
    quantities : dict of str to Quantity
        ``delta``, ``smoothness``, ``beta``; when measured, also those that `quantities_of` lists.
    ratios : dict of str to Quantity
        To the dense network, by the names in `RATIOS`; empty for the dense network itself.
    layers : dict of str to dict of str to float
        For ``smoothness`` and ``beta``: mean share of each layer. Empty where not measured.
    reached : tuple of int
        On how many seeds the goal was met, and of how many.
    """

    sparsity: float
    quantities: dict[str, Quantity]
    ratios: dict[str, Quantity] = field(default_factory=dict)
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    reached: tuple[int, int] | None = None


@dataclass(frozen=True)
class Decomposition:
    """The decomposition of c1 on one workload.

    Attributes
    ----------
    workload : str
    seeds : tuple of int
    dense : Network
    sparse : tuple of Network
        In the order asked for.
    settings : dict
        The choices behind the numbers: learning rate, batch size, steps, f_∞ ..
    trajectories : tuple of Trajectory
        What was measured; empty for numbers written by hand.
    confidence : float
    source : str
        Where numbers come from that sparsefit did not measure; empty otherwise.
    """

    workload: str
    seeds: tuple[int, ...]
    dense: Network
    sparse: tuple[Network, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    trajectories: tuple[Trajectory, ...] = ()
    confidence: float = 0.95
    source: str = ""


def decompose(
    workload: str,
    trajectories: Sequence[Trajectory],
    *,
    f_inf: float | str = 0.0,
    settings: Mapping[str, Any] | None = None,
    confidence: float = 0.95,
) -> Decomposition:
    """Summarise trajectories over seeds.

    Values are geometric means over seeds, ratios those of the pairs of one seed, intervals Student's t on the
    logarithm: the ratio of values is the value of the ratio, and the c1 ratio is the product of its three
    parts.

    Parameters
    ----------
    workload : str
    trajectories : sequence of Trajectory
        For every seed one of sparsity 0 and one of each other sparsity.
    f_inf : float or "lowest"
        f_∞ of Δ = 2(f(w_1) − f_∞): a number, or the lowest loss measured on the trajectory itself.
    settings : mapping, optional
        Recorded as given.
    confidence : float

    Raises
    ------
    InputError
        A trajectory is missing; f_∞ does not lie below f(w_1); a quantity is not positive.
    """
    seeds = tuple(dict.fromkeys(t.seed for t in trajectories))
    sparsities = tuple(dict.fromkeys(t.sparsity for t in trajectories))
    found = {(t.sparsity, t.seed): t for t in trajectories}
    for sparsity in (0.0, *sparsities):
        if missing := [seed for seed in seeds if (sparsity, seed) not in found]:
            raise InputError(
                f"no trajectory of sparsity {sparsity:g} for seed {missing[0]}; every seed needs one"
            )
    numbers = {key: quantities_of(trajectory, f_inf) for key, trajectory in found.items()}

    def network(sparsity: float) -> Network:
        rows = [numbers[sparsity, seed] for seed in seeds]
        bases = [numbers[0.0, seed] for seed in seeds]
        of_one = [found[sparsity, seed] for seed in seeds]
        quantities = {name: geometric_mean([row[name] for row in rows], confidence) for name in rows[0]}
        quantities["mu"] = pooled([t.mu for t in of_one], confidence)
        goal_steps = [t.goal_step for t in of_one if t.goal_step is not None]
        if len(goal_steps) == len(seeds):
            quantities["goal_step"] = geometric_mean(goal_steps, confidence)
        ratios = {}
        if sparsity:
            pairs = list(zip(rows, bases, strict=True))
            ratios = {
                n: geometric_mean([row[n] / base[n] for row, base in pairs], confidence) for n in RATIOS
            }
        return Network(
            sparsity,
            quantities,
            ratios,
            {part: mean_shares(of_one, part) for part in ("smoothness", "beta")},
            (len(goal_steps), len(seeds)),
        )

    return Decomposition(
        workload=workload,
        seeds=seeds,
        dense=network(0.0),
        sparse=tuple(network(sparsity) for sparsity in sparsities if sparsity),
        settings={**(settings or {}), "f_inf": f_inf},
        trajectories=tuple(trajectories),
        confidence=confidence,
    )


def quantities_of(trajectory: Trajectory, f_inf: float | str) -> dict[str, float]:
    """Return the numbers of one trajectory.

    ``delta``, ``smoothness`` (mean of L̂ over the measured steps after the first), ``smoothness_initial`` and
    ``smoothness_max`` (step 1 included), ``beta`` (at step 1, the paper's "initial variance bound"),
    ``beta_mean`` (over the measured steps after the first), ``gradient_squared_norm`` and ``noise_scale``
    = β/‖∇f‖² at step 1, ``epsilon``, ``c1`` = ΔLβ (what the paper compares), ``c1_own_epsilon`` = ΔLβ/(μ²ε²),
    ``c2`` = Δ/(ημε), ``critical_batch_size`` = c1/c2 = ηLβ/(με), ``second_moment_slope`` = M_G and
    ``learning_rate_bound`` = μ/(L M_G) with the largest L̂, ``batch_variance_ratio`` = B ‖g − ∇f‖²/β,
    1 in theory.
    """
    points = trajectory.points
    where = f"at sparsity {trajectory.sparsity:g}, seed {trajectory.seed}"
    if still := [point.step for point in points if point.gradient_squared_norm == 0]:
        raise InputError(
            f"the gradient over the training set is 0 at step {still[0]} {where}: training has come to its "
            "end there; measure fewer steps, or choose another learning rate"
        )
    bottom = min(point.loss for point in points) if f_inf == "lowest" else float(f_inf)
    delta = 2 * (points[0].loss - bottom)
    if delta <= 0:
        raise InputError(
            f"f_inf: got {bottom:g}, but f(w_1) is {points[0].loss:g} {where}; "
            "it must lie below (0 is a bound of every cross-entropy)"
        )
    rate = trajectory.learning_rate
    smoothness = float(np.mean([point.smoothness for point in trajectory.later]))
    smoothness_max = max(point.smoothness for point in points)
    beta = points[0].beta.value
    squared_norm = points[0].gradient_squared_norm
    epsilon = trajectory.epsilon()
    slope = trajectory.second_moment_slope()
    numbers = {
        "delta": delta,
        "smoothness": smoothness,
        "beta": beta,
        "c1": delta * smoothness * beta,
        "smoothness_initial": points[0].smoothness,
        "smoothness_max": smoothness_max,
        "beta_mean": float(np.mean([point.beta.value for point in trajectory.later])),
        "gradient_squared_norm": squared_norm,
        "noise_scale": beta / squared_norm,
        "epsilon": epsilon,
        "c1_own_epsilon": delta * smoothness * beta / (MU * epsilon) ** 2,
        "c2": delta / (rate * MU * epsilon),
        "critical_batch_size": rate * smoothness * beta / (MU * epsilon),
        "second_moment_slope": slope,
        "learning_rate_bound": MU / (smoothness_max * slope),
        "batch_variance_ratio": trajectory.batch_variance.value / beta,
    }
    for name, value in numbers.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(
                f"{name} is {value} {where}, so it has no logarithm; training diverged or stood still: "
                "choose another learning rate"
            )
    return numbers


def pooled(checks: Sequence[Quantity], confidence: float) -> Quantity:
    """Return the mean over seeds of μ; of one seed, its own interval over mini-batches."""
    return checks[0] if len(checks) == 1 else mean_interval([check.value for check in checks], confidence)


def mean_shares(trajectories: Sequence[Trajectory], part: str) -> dict[str, float]:
    """Return each layer's share of ``smoothness`` (over steps and seeds) or ``beta`` (step 1, over seeds)."""
    if part == "beta":
        rows = [trajectory.points[0].beta_layers for trajectory in trajectories]
    else:
        rows = [point.smoothness_layers for trajectory in trajectories for point in trajectory.later]
    return {layer: float(np.mean([row[layer] for row in rows])) for layer in rows[0]}
