"""Goal checks: is the validation error at the goal? Answered after as few examples as the answer needs.

The goal is an integer number of errors (120 of 6,000 for 0.02), so a goal that is not met is known as soon as
one error too many was seen, and one that is met as soon as the examples left cannot spoil it. Examples that
were hardest when last looked at come first; what was wrong sixteen steps ago mostly still is, and a refusal
then costs little more than the floor of ``allowed errors + 1`` examples. The answer is that of the full
evaluation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Forward = Callable[[Tensor], Tensor]
"""Maps images ``(n, C, H, W)`` to logits ``(n, classes)``."""

LANES = 16
"""Chunks are multiples of it: the blocked layouts of `sparsefit.conv` hold 16 examples a block."""

SMALLEST_CHUNK = 32
"""Below it a forward pass costs its fixed overhead rather than its examples."""

LARGEST_CHUNK = 128
"""Bounds the memory of a check, and what it evaluates past the answer."""


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
        self._margins = torch.zeros(len(labels))

    def met(self, forward: Forward) -> bool:
        """Say whether the model has at most `allowed` errors on the whole validation set."""
        order = self._margins.argsort()
        seen = errors = 0
        error_rate = 1.0
        while errors <= self.allowed and errors + len(order) - seen > self.allowed:
            size = self._chunk_size(self.allowed + 1 - errors, error_rate)
            chunk = order[seen : seen + size]
            wrong, margins = judge(forward(self.images[chunk]), self.labels[chunk])
            self._margins[chunk] = margins
            n_wrong = int(wrong.sum())
            error_rate = n_wrong / len(chunk)
            errors += n_wrong
            seen += len(chunk)
        met = errors <= self.allowed
        self.checks += 1
        self.evaluated += seen
        self.floor += min(len(order), max(0, len(order) - self.allowed) if met else self.allowed + 1)
        return met

    def _chunk_size(self, errors_wanted: int, error_rate: float) -> int:
        """Return how many examples should hold the errors still wanted, if as hard as the last chunk."""
        size = LARGEST_CHUNK if not error_rate else min(LARGEST_CHUNK, round(errors_wanted / error_rate))
        return -(-max(SMALLEST_CHUNK, size) // LANES) * LANES

    def full(self, forward: Forward) -> tuple[bool, float, float]:
        """Evaluate everything: whether the goal is met, the validation error and the mean cross-entropy."""
        errors = 0
        loss = 0.0
        for chunk in torch.arange(len(self.labels)).split(LARGEST_CHUNK):
            logits = forward(self.images[chunk])
            loss += cross_entropy(logits, self.labels[chunk], reduction="sum").item()
            errors += int(judge(logits, self.labels[chunk])[0].sum())
        self.checks += 1
        self.evaluated += len(self.labels)
        self.floor += len(self.labels)
        return errors <= self.allowed, errors / len(self.labels), loss / len(self.labels)


def judge(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which examples are wrong, and their margins: the right logit minus the largest other one."""
    right = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    # The first of equal logits is the prediction, as in argmax; a margin could not tell.
    wrong = logits.argmax(1) != labels
    return wrong, right - others
