"""Update rules: SGD, momentum and Nesterov at a constant or linearly decaying learning rate.

The rules are torch's own ``torch.optim.sgd.sgd``, applied to one flat vector that holds every parameter of
the model: a step costs one call whatever the number of layers. It is the function behind ``torch.optim.SGD``,
whose hooks and profiling cost more than the update where a step on two examples takes half a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from sparsefit.errors import InputError

RULES: dict[str, tuple[str, ...]] = {
    "sgd": ("learning_rate",),
    "momentum": ("learning_rate", "momentum"),
    "nesterov": ("learning_rate", "momentum"),
}
"""Update rules, with their metaparameters."""

SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("decay_steps", "end_learning_rate_factor"),
}
"""Schedules of the learning rate, with the metaparameters that they add."""

ALIGNMENT = 16
"""Floats between two allowed starts of a parameter in the flat vector: 64 bytes, a cache line."""


def needed(rule: str, schedule: str) -> tuple[str, ...]:
    """Return the metaparameters of a rule and a schedule, in the release's order of axes."""
    return RULES[rule] + SCHEDULES[schedule]


class Optimizer:
    """Updates the parameters of one trial.

    Parameters
    ----------
    parameters : sequence of nn.Parameter
        Moved into the flat vector, and their gradients with them: do not replace ``.data`` or ``.grad``
        later.
    rule : str
        ``sgd``, ``momentum`` (torch's with dampening 0, which is TensorFlow's) or ``nesterov``.
    schedule : str
        ``constant``, or ``linear``: TensorFlow's ``polynomial_decay`` of power 1, see `learning_rate`.
    metaparameters : mapping
        Those that are `needed`; others do no harm.
    masks : mapping of parameter to bool tensor, optional
        Entries where the mask is False are set to 0 and stay there: the dense way to train a pruned model.

    Raises
    ------
    InputError
        Unknown rule or schedule; a metaparameter is missing.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        rule: str,
        schedule: str,
        metaparameters: Mapping[str, float],
        masks: Mapping[nn.Parameter, Tensor] | None = None,
    ) -> None:
        if rule not in RULES or schedule not in SCHEDULES:
            raise InputError(
                f"unknown optimizer {rule!r} with schedule {schedule!r}; "
                f"allowed: {', '.join(RULES)} with {' or '.join(SCHEDULES)}"
            )
        missing = [name for name in needed(rule, schedule) if name not in metaparameters]
        if missing:
            raise InputError(f"optimizer {rule!r} with schedule {schedule!r} needs {', '.join(missing)}")
        self.schedule = schedule
        self.metaparameters = dict(metaparameters)
        self._weights = flatten(parameters)
        self._gradient = torch.zeros_like(self._weights)
        for parameter, gradient in zip(parameters, unflatten(self._gradient, parameters), strict=True):
            parameter.grad = gradient
        self._mask = flat_mask(parameters, masks) if masks else None
        if self._mask is not None:
            self._weights.mul_(self._mask)
        self._momentum = 0.0 if rule == "sgd" else metaparameters["momentum"]
        self._nesterov = rule == "nesterov"
        self._velocity: list[Tensor | None] = [None]  # the rule sets it at the first step

    def zero_grad(self) -> None:
        """Set the accumulated gradient to 0."""
        self._gradient.zero_()

    def step(self, updates_done: int) -> None:
        """Apply the accumulated gradient at the learning rate after `updates_done` updates."""
        if self._mask is not None:
            self._gradient.mul_(self._mask)
        sgd(
            [self._weights],
            [self._gradient],
            self._velocity,
            foreach=False,
            weight_decay=0.0,
            momentum=self._momentum,
            lr=self.learning_rate(updates_done),
            dampening=0.0,
            nesterov=self._nesterov,
            maximize=False,
        )

    def learning_rate(self, updates_done: int) -> float:
        """Return the learning rate after `updates_done` updates.

        Linear: ``(lr - end) (1 - k / decay_steps) + end`` with ``k = min(updates_done, decay_steps)`` and
        ``end = lr · end_learning_rate_factor``; the first update uses ``lr`` itself.
        """
        rate = self.metaparameters["learning_rate"]
        if self.schedule == "constant":
            return rate
        end = rate * self.metaparameters["end_learning_rate_factor"]
        decay_steps = self.metaparameters["decay_steps"]
        return (rate - end) * (1 - min(updates_done, decay_steps) / decay_steps) + end


def places(parameters: Sequence[Tensor]) -> list[slice]:
    """Return where each parameter lies in the flat vector."""
    slices = []
    start = 0
    for parameter in parameters:
        slices.append(slice(start, start + parameter.numel()))
        start = -(-slices[-1].stop // ALIGNMENT) * ALIGNMENT
    return slices


def unflatten(flat: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return views of the flat vector with the shapes of the parameters."""
    return [flat[place].view(p.shape) for place, p in zip(places(parameters), parameters, strict=True)]


def flatten(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Move the parameters into one new vector, which they then share, and return it."""
    if not parameters:
        raise InputError("the model has no parameters to train")
    kinds = {(parameter.dtype, parameter.device) for parameter in parameters}
    if len(kinds) > 1:
        raise InputError(
            f"the parameters of a model must share dtype and device, got {sorted(map(str, kinds))}"
        )
    ((dtype, device),) = kinds
    flat = torch.zeros(places(parameters)[-1].stop, dtype=dtype, device=device)
    for parameter, view in zip(parameters, unflatten(flat, parameters), strict=True):
        view.copy_(parameter.detach())
        parameter.data = view
    return flat


def flat_mask(parameters: Sequence[nn.Parameter], masks: Mapping[nn.Parameter, Tensor]) -> Tensor:
    """Return 1 where a weight is kept and 0 where it is pruned, in the order of the flat vector."""
    kept = torch.ones(places(parameters)[-1].stop, dtype=parameters[0].dtype)
    for parameter, view in zip(parameters, unflatten(kept, parameters), strict=True):
        if parameter in masks:
            view.copy_(masks[parameter])
    return kept
