"""One trial: train with one setting of the metaparameters until the goal, the limit or divergence.

A trial is a function of its seed: which steps it takes and when it reaches its goal depend neither on the
process that runs it nor on what ran before. A batch of any size is run as micro-batches whose gradients add
up to that of the mean loss, so that time per example and memory do not grow with the batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsefit.errors import InputError
from sparsefit.experiment.goal import GoalCheck
from sparsefit.experiment.network import Network
from sparsefit.experiment.optimizer import Optimizer
from sparsefit.experiment.records import End, TrialEnd


@dataclass(frozen=True)
class Budget:
    """When a trial looks at its goal and when it ends.

    Attributes
    ----------
    eval_interval : int
        Steps between goal checks.
    max_steps : int
        Of the workload; the goal is checked there, too.
    limit : int
        The last step of this run: `max_steps`, or fewer and then a multiple of `eval_interval`.
    """

    eval_interval: int
    max_steps: int
    limit: int


def train(
    network: Network,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    batches: Iterator[NDArray[np.int64]],
    check: GoalCheck,
    budget: Budget,
    *,
    curves: bool = False,
) -> TrialEnd:
    """Train until the goal is met, the loss is not finite, or the limit.

    Parameters
    ----------
    network : Network
    optimizer : Optimizer
        Of the parameters of `network`.
    images, labels : Tensor
        The training images that `batches` indexes.
    batches : iterator of ndarray of int64
        Indices of one batch after another.
    check : GoalCheck
    budget : Budget
    curves : bool
        Evaluate the whole validation set at every check and keep the curve.

    Raises
    ------
    InputError
        The loss is not finite before the first update: the model is broken, no training diverged.
    """
    started = time.process_time()
    check_seconds = 0.0
    samples = 0
    curve: list[tuple[float, float, float, float]] = []
    status = "not_reached" if budget.limit >= budget.max_steps else "capped"
    step = 0
    while step < budget.limit:
        step += 1
        batch = torch.from_numpy(next(batches))
        loss = accumulate_gradient(network, optimizer, images, labels, batch)
        samples += len(batch)
        if not math.isfinite(loss):
            if step == 1:
                raise broken(loss)
            status = "diverged"
            break
        optimizer.step(step - 1)
        if step % budget.eval_interval == 0 or step == budget.max_steps:
            check_started = time.process_time()
            if curves:
                met, error, validation_loss = check.full(network.evaluate)
                curve.append((step, loss, error, validation_loss))
            else:
                met = check.met(network.evaluate)
            check_seconds += time.process_time() - check_started
            if met:
                status = "reached"
                break
    return TrialEnd(
        End(status, step),
        samples=samples,
        seconds=time.process_time() - started,
        check_seconds=check_seconds,
        checks=check.checks,
        evaluated=check.evaluated,
        floor=check.floor,
        curve=np.array(curve).reshape(-1, 4) if curves else None,
    )


def broken(loss: float) -> InputError:
    """Return the error of a model whose loss is not finite before the first update."""
    return InputError(
        f"the loss of the untrained model is {loss}: its outputs must be finite; "
        "check the model's initialisation and its forward pass in training mode"
    )


def accumulate_gradient(
    network: Network, optimizer: Optimizer, images: Tensor, labels: Tensor, batch: Tensor
) -> float:
    """Leave the gradient of the batch's mean loss in the optimizer and return that loss."""
    optimizer.zero_grad()
    loss = 0.0
    for start in range(0, len(batch), network.micro_batch):
        indices = batch[start : start + network.micro_batch]
        loss += network.add_gradient(images[indices], labels[indices], len(batch))
    return loss
