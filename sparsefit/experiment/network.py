"""What a trial trains: something that evaluates images and adds up gradients; any torch module is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Network(Protocol):
    """A model as a trial needs it.

    Attributes
    ----------
    micro_batch : int
        Examples to run at once: what is fastest.
    """

    micro_batch: int

    def parameters(self) -> Sequence[nn.Parameter]:
        """Return the parameters; an `optimizer.Optimizer` then owns their memory and their gradients."""
        ...

    def evaluate(self, images: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of images ``(n, C, H, W)``, without gradients."""
        ...

    def add_gradient(self, images: Tensor, labels: Tensor, divisor: int) -> float:
        """Add the gradient of ``sum of cross-entropies / divisor`` to that of the parameters.

        Returns
        -------
        float
            That sum over `divisor`.
        """
        ...


class TorchNetwork:
    """Any ``nn.Module``, through autograd.

    Parameters
    ----------
    module : nn.Module
        Maps images ``(n, C, H, W)`` to logits ``(n, classes)``. In training mode for gradients, in evaluation
        mode for goal checks.
    """

    micro_batch = 128

    def __init__(self, module: nn.Module) -> None:
        self.module = module.train()

    def parameters(self) -> Sequence[nn.Parameter]:
        """See `Network.parameters`."""
        return list(self.module.parameters())

    def evaluate(self, images: Tensor) -> Tensor:
        """See `Network.evaluate`."""
        self.module.eval()
        with torch.inference_mode(), no_fast_path():
            logits: Tensor = self.module(images)
        self.module.train()
        return logits

    def add_gradient(self, images: Tensor, labels: Tensor, divisor: int) -> float:
        """See `Network.add_gradient`."""
        loss = cross_entropy(self.module(images), labels, reduction="sum") / divisor
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()


@contextmanager
def no_fast_path() -> Iterator[None]:
    """Keep ``nn.TransformerEncoderLayer`` from its fused evaluation: it reads weights of sparse layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
