"""L: local smoothness of the gradient along a training step (Eq. 7 of Lee et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sparsefit.errors import InputError
from sparsefit.experiment.gradients import Objective

PAPER_GAMMAS = tuple(i / 10 for i in range(1, 11))
"""γ = δ, 2δ, .., 1 with δ = 0.1, as Eq. 7."""

RELEASE_GAMMAS = PAPER_GAMMAS[:-1]
"""γ = 0.1 .. 0.9, as the authors' release computes it."""


@dataclass(frozen=True)
class Smoothness:
    """Local smoothness along one step.

    Attributes
    ----------
    value : float
        The largest of `curve`: L̂(w_k).
    curve : tuple of float
        ‖∇f(w_k + γd) − ∇f(w_k)‖ / ‖γd‖ for each γ.
    layers : dict of str to float
        Share of each layer in the squared change of the gradient at the largest ratio: what L̂² is made of.
    """

    value: float
    curve: tuple[float, ...]
    layers: dict[str, float]


def local_smoothness(
    objective: Objective,
    weights: Tensor,
    following: Tensor,
    gammas: Sequence[float] = PAPER_GAMMAS,
    *,
    start: Tensor | None = None,
    indices: Tensor | None = None,
) -> Smoothness:
    """Measure L̂(w_k) = max over γ of ‖∇f(w_k + γd) − ∇f(w_k)‖ / ‖γd‖ with d = w_{k+1} − w_k (Eq. 7).

    Parameters
    ----------
    objective : Objective
    weights, following : Tensor, shape (P,)
        w_k and w_{k+1}.
    gammas : sequence of float
        `PAPER_GAMMAS` or `RELEASE_GAMMAS`.
    start : Tensor, optional
        ∇f(w_k) over the same examples, if it is known already.
    indices : Tensor, optional
        Examples that the gradients average over; the whole training set by default.

    Raises
    ------
    InputError
        The step is zero: there is no direction to measure along.
    """
    step = following - weights
    length = float(step.double().norm())
    if length == 0:
        raise InputError(
            "the training step did not change the weights, so there is no direction to measure smoothness "
            "along; raise the learning rate"
        )
    if start is None:
        start = objective.evaluate(weights, indices).gradient
    curve = []
    shares: dict[str, float] = {}
    for gamma in gammas:
        # γ = 1 must be w_{k+1} itself, which w_k + d need not be after rounding.
        point = following if gamma == 1 else weights + gamma * step
        change = objective.evaluate(point, indices).gradient - start
        distance = float((point - weights).double().norm())
        curve.append(float(change.norm()) / distance)
        if curve[-1] == max(curve):
            shares = objective.shares(change.square())
    return Smoothness(max(curve), tuple(curve), shares)
