"""β: variance of the gradient at batch size 1, and the check that mini-batches are unbiased (μ = 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsefit.errors import InputError
from sparsefit.experiment.gradients import Evaluation, Objective
from sparsefit.quantity import Quantity, mean_interval

UNIFORM_SHARE = 0.2
"""Share of the sample that is drawn evenly; no example then weighs more than 1 / `UNIFORM_SHARE`."""


@dataclass(frozen=True)
class GradientNoise:
    """The trace of the covariance of the gradient of one example drawn at random.

    Attributes
    ----------
    beta : Quantity
        β, the interval of its sampling error, and the number of examples that were used. The interval is a
        point when every example of the training set was used.
    layers : dict of str to float
        Share of each layer in β.
    """

    beta: Quantity
    layers: dict[str, float]


def gradient_noise(
    objective: Objective,
    weights: Tensor,
    full: Evaluation,
    n: int | None,
    generator: np.random.Generator,
    confidence: float = 0.95,
) -> GradientNoise:
    """Estimate β = E ‖∇f_i(w) − ∇f(w)‖² for an example i drawn evenly from the training set, without bias.

    ∇f is known from the pass over the whole training set, so the squared distance of one example's
    gradient from it is an unbiased estimate already. Examples are drawn with replacement, with
    probabilities p_i that follow the squared gradient of the loss with respect to the network's output
    (mixed with even ones), and each is weighted by 1 / (N p_i): late in training a few examples carry most
    of β, and even draws would miss them.

    Parameters
    ----------
    objective : Objective
    weights : Tensor, shape (P,)
    full : Evaluation
        Of the whole training set at `weights`.
    n : int or None
        How many examples to draw; None, or at least the size of the training set, uses every example once.
    generator : numpy Generator
        Draws the examples.
    confidence : float

    Returns
    -------
    GradientNoise
    """
    size = len(objective.indices)
    if n is None or n >= size:
        drawn = np.arange(size)
        importance = np.ones(size)
    else:
        probabilities = draw_probabilities(full.output_gradients.numpy())
        drawn = generator.choice(size, n, p=probabilities)
        importance = 1 / (size * probabilities[drawn])
    mean = full.gradient
    terms = []
    by_entry = torch.zeros(len(weights), dtype=torch.float64)
    done = 0
    for gradients in objective.per_example(weights, objective.indices[torch.from_numpy(drawn)]):
        squares = gradients.double().sub_(mean).square_()
        scale = torch.from_numpy(importance[done : done + len(squares)])
        terms.append((squares.sum(1) * scale).numpy())
        by_entry += scale @ squares
        done += len(squares)
    beta = mean_interval(np.concatenate(terms), confidence, exhaustive=len(drawn) == size)
    return GradientNoise(beta, objective.shares(by_entry))


def draw_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities that follow the scores, mixed with `UNIFORM_SHARE` of even ones."""
    even = np.full(len(scores), 1 / len(scores))
    total = scores.sum()
    if total == 0:
        return even
    mixed = UNIFORM_SHARE * even + (1 - UNIFORM_SHARE) * scores / total
    return mixed / mixed.sum()


@dataclass(frozen=True)
class Unbiasedness:
    """Whether mini-batch gradients are unbiased with variance β / B.

    Attributes
    ----------
    mu : Quantity
        Mean of ⟨g, ∇f⟩ / ‖∇f‖² over mini-batches g, with its t interval: the μ of ⟨∇f, E g⟩ ≥ μ ‖∇f‖². It
        is 1 if the gradient is unbiased.
    variance : Quantity
        B (N − 1)/(N − B) times the mean of ‖g − ∇f‖², to be compared with β: an epoch draws without
        replacement.
    """

    mu: Quantity
    variance: Quantity


def check_unbiasedness(
    objective: Objective,
    weights: Tensor,
    full: Evaluation,
    batches: Iterator[NDArray[np.int64]],
    n_batches: int,
    confidence: float = 0.95,
) -> Unbiasedness:
    """Compare `n_batches` of training's own mini-batches with the full gradient, at fixed weights.

    Parameters
    ----------
    objective : Objective
    weights : Tensor, shape (P,)
    full : Evaluation
        Of the whole training set at `weights`.
    batches : iterator of ndarray of int64
        Mini-batches as training draws them.
    n_batches : int
    confidence : float

    Returns
    -------
    Unbiasedness

    Raises
    ------
    InputError
        The full gradient is zero: no direction to compare along.
    """
    mean = full.gradient
    squared_norm = float(mean @ mean)
    if squared_norm == 0:
        raise InputError(
            "the gradient over the training set is 0 at the initial weights: nothing would be trained"
        )
    size = len(objective.indices)
    along = []
    distances = []
    for batch in islice(batches, n_batches):
        gradient = objective.evaluate(weights, torch.from_numpy(batch)).gradient
        along.append(float(gradient @ mean) / squared_norm)
        # Drawn without replacement from N, a batch of B has the variance β/B · (N − B)/(N − 1).
        drawn = len(batch) * (size - 1) / (size - len(batch))
        distances.append(drawn * float((gradient - mean).square().sum()))
    return Unbiasedness(
        mean_interval(np.array(along), confidence), mean_interval(np.array(distances), confidence)
    )
