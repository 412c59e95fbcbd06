"""Goal checks: is the validation error at the goal? Answered after as few examples as the answer needs.

The goal is an integer number of errors (120 of 6,000 for 0.02), so a goal that is not met is known as soon as
one error too many was seen, and one that is met as soon as the examples left cannot spoil it. Examples that
are expected to be wrong come first (`forecast`), and a refusal then costs little more than the floor of
``allowed errors + 1`` examples. The answer is that of the full evaluation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sparsefit.experiment.forecast import Forecast

Forward = Callable[[Tensor], Tensor]
"""Maps images ``(n, C, H, W)`` to logits ``(n, classes)``."""

CHUNK = 32
"""Examples of every forward pass, the last one filled up: what kernels choose by the size of a batch, and so
the last bits of a logit, cannot depend on the order of the examples then, and the answer is that of a full
evaluation bit for bit."""


class GoalCheck:
    """The goal check of one trial.

    Parameters
    ----------
    images, labels : Tensor
        The whole validation set, ``(n, C, H, W)`` and ``(n,)``.
    allowed : int
        Errors that still meet the goal, see `workload.Workload.goal_count`.

    Attributes
    ----------
    checks : int
        Checks made.
    evaluated : int
        Examples evaluated in all checks.
    floor : int
        Examples that no exact check could have done without.
    """

    def __init__(self, images: Tensor, labels: Tensor, allowed: int) -> None:
        self.images = images
        self.labels = labels
        self.allowed = allowed
        self.checks = 0
        self.evaluated = 0
        self.floor = 0
        self._forecast = Forecast(labels)

    def met(self, forward: Forward) -> bool:
        """Say whether the model has at most `allowed` errors on the whole validation set."""
        n = len(self.labels)
        seen = errors = 0

        def is_open() -> bool:
            return errors <= self.allowed and errors + n - seen > self.allowed

        while is_open():
            # The forecast is made anew when it can rest on twice as many examples.
            for chunk in self._forecast.hardest(min(max(seen, 2 * CHUNK), n - seen)).split(CHUNK):
                logits = self._logits(forward, chunk)
                self._forecast.observe(chunk, logits)
                errors += count_errors(logits, self.labels[chunk])
                seen += len(chunk)
                if not is_open():
                    break
        self._forecast.end()
        met = errors <= self.allowed
        self.checks += 1
        self.evaluated += seen
        self.floor += min(n, max(0, n - self.allowed) if met else self.allowed + 1)
        return met

    def full(self, forward: Forward) -> tuple[bool, float, float]:
        """Evaluate everything: whether the goal is met, the validation error and the mean cross-entropy."""
        n = len(self.labels)
        logits = torch.cat([self._logits(forward, chunk) for chunk in torch.arange(n).split(CHUNK)])
        errors = count_errors(logits, self.labels)
        self.checks += 1
        self.evaluated += n
        self.floor += n
        return errors <= self.allowed, errors / n, cross_entropy(logits, self.labels).item()

    def _logits(self, forward: Forward, chunk: Tensor) -> Tensor:
        filled = torch.cat([chunk, chunk[:1].expand(CHUNK - len(chunk))]) if len(chunk) < CHUNK else chunk
        return forward(self.images[filled])[: len(chunk)]


def count_errors(logits: Tensor, labels: Tensor) -> int:
    """Return how many predictions are wrong; of equal logits the first is the prediction."""
    return int((logits.argmax(1) != labels).sum())
