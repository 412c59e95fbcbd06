"""What is measured along one training: `sparsefit.experiment` makes it, `sparsefit.fitting` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sparsefit.quantity import Quantity


@dataclass(frozen=True)
class Point:
    """What was measured at one step of training.

    Attributes
    ----------
    step : int
        k of w_k; 1 is the initial point.
    loss, gradient_squared_norm : float
        f(w_k) and ‖∇f(w_k)‖² over the whole training set.
    smoothness : float
        L̂(w_k), the largest of `smoothness_curve`.
    smoothness_curve : tuple of float
        One ratio of Eq. 7 for each γ.
    beta : Quantity
        β at w_k, with the interval of its sampling error.
    smoothness_layers, beta_layers : mapping of str to float
        Share of each layer in L̂² and in β.
    """

    step: int
    loss: float
    gradient_squared_norm: float
    smoothness: float
    smoothness_curve: tuple[float, ...]
    beta: Quantity
    smoothness_layers: Mapping[str, float]
    beta_layers: Mapping[str, float]


@dataclass(frozen=True)
class Trajectory:
    """Measurements along the training of one network from one seed.

    Attributes
    ----------
    seed : int
    sparsity : float
    learning_rate : float
        η of every step, or of the first one if it decays.
    batch_size : int
    points : tuple of Point
        In the order of steps: the first at step 1, the initial weights, and at least one later.
    squared_norms : tuple of float
        ‖∇f(w_k)‖² at every step k = 1 .. K*, or to the last one where the goal was not met: unbiased
        estimates, which may be negative one by one.
    goal_step : int or None
        K*, the first check at which the goal error was met.
    mu, batch_variance : Quantity
        The check of unbiased mini-batches: ⟨g, ∇f⟩/‖∇f‖², and B ‖g − ∇f‖², which should be β.
    """

    seed: int
    sparsity: float
    learning_rate: float
    batch_size: int
    points: tuple[Point, ...]
    squared_norms: tuple[float, ...]
    goal_step: int | None
    mu: Quantity
    batch_variance: Quantity

    @property
    def later(self) -> tuple[Point, ...]:
        """The points after step 1: those that means over training are taken over, as in the release."""
        return self.points[1:]

    def epsilon(self) -> float:
        """Return ε: the mean of ‖∇f(w_k)‖² over k = 1 .. K*, or to the last step without a goal step."""
        return float(np.mean(self.squared_norms))

    def second_moment_slope(self) -> float:
        """Return the smallest M_G ≥ 1 with E‖g‖² ≤ β/B + M_G ‖∇f‖² at every measured point, β that of step 1.

        For an unbiased mini-batch, E‖g‖² = ‖∇f(w_k)‖² + β(w_k)/B.
        """
        first = self.points[0].beta.value
        excess = [
            (point.beta.value - first) / (self.batch_size * point.gradient_squared_norm)
            for point in self.points
        ]
        return 1.0 + max(0.0, *excess)
