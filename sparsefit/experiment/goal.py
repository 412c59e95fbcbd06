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
        self._margins = torch.zeros(len(labels))

    def met(self, forward: Forward) -> bool:
        """Say whether the model has at most `allowed` errors on the whole validation set."""
        order = self._margins.argsort()
        seen = errors = 0
        while errors <= self.allowed and errors + len(order) - seen > self.allowed:
            # As many as any answer needs: to refuse, the errors that are still allowed and one; to accept,
            # all but those.
            needed = min(self.allowed + 1 - errors, errors + len(order) - seen - self.allowed)
            indices = order[seen : seen + -(-needed // CHUNK) * CHUNK]
            wrong, margins = judge(self._logits(forward, indices), self.labels[indices])
            self._margins[indices] = margins
            errors += int(wrong.sum())
            seen += len(indices)
        met = errors <= self.allowed
        self.checks += 1
        self.evaluated += seen
        self.floor += min(len(order), max(0, len(order) - self.allowed) if met else self.allowed + 1)
        return met

    def _logits(self, forward: Forward, indices: Tensor) -> Tensor:
        rest = -len(indices) % CHUNK
        filled = torch.cat([indices, indices[:1].expand(rest)]) if rest else indices
        images = self.images[filled]
        logits = [forward(images[i : i + CHUNK]) for i in range(0, len(filled), CHUNK)]
        return torch.cat(logits)[: len(indices)]

    def full(self, forward: Forward) -> tuple[bool, float, float]:
        """Evaluate everything: whether the goal is met, the validation error and the mean cross-entropy."""
        errors = 0
        loss = 0.0
        for chunk in torch.arange(len(self.labels)).split(CHUNK):
            logits = self._logits(forward, chunk)
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
