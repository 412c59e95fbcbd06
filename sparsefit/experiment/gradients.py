"""The objective f as a function of one flat vector of weights: its value, gradient and per-example gradients.

Everything streams over the examples in blocks, so that memory does not grow with the training set. Sums over
blocks are float64, whatever the precision of the network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from sparsefit.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs ``(n, ..)`` and labels ``(n, ..)`` to the losses of the examples, ``(n,)``."""

BLOCK = 128
"""Examples whose activations are held at once; larger blocks fall out of the cache."""

PER_EXAMPLE_ENTRIES = 2**23
"""Gradient entries held at once while each example has its own gradient: 32 MiB of float32."""


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each example."""
    return functional.cross_entropy(outputs, labels, reduction="none")


@dataclass(frozen=True)
class Evaluation:
    """What one pass over examples gives.

    Attributes
    ----------
    loss : float
        Mean loss.
    gradient : Tensor
        float64, shape ``(P,)``: gradient of the mean loss, 0 where a weight is pruned.
    output_gradients : Tensor
        float64, shape ``(n,)``: squared norm of each example's gradient with respect to the network's
        output, in the order of the examples.
    """

    loss: float
    gradient: Tensor
    output_gradients: Tensor


class Objective:
    """f(w): the mean loss of a network over a training set.

    Parameters
    ----------
    network : nn.Module
        Copied and used in evaluation mode; its weights give the starting point.
    images, labels : Tensor
        Examples along the first axis.
    indices : Tensor, optional
        int64: the examples that f averages over; all of them by default.
    masks : mapping of str to Tensor, optional
        Bool, by parameter name; False is pruned. A pruned weight is 0 and its gradient counts as 0, as does
        that of a parameter that is not trained (``requires_grad`` False).
    loss : callable, optional
        See `Loss`; cross-entropy by default.
    block : int
        Examples run at once.

    Attributes
    ----------
    initial : Tensor
        The network's weights, masked, in one vector of shape ``(P,)``.
    layers : dict of str to list of slice
        Where the trained parameters of each layer lie in that vector; layers without any are left out.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        indices: Tensor | None = None,
        masks: Mapping[str, Tensor] | None = None,
        loss: Loss = cross_entropy,
        block: int = BLOCK,
    ) -> None:
        self.network = copy.deepcopy(network).eval()
        self.images = images
        self.labels = labels
        self.indices = torch.arange(len(images)) if indices is None else indices
        if not len(self.indices):
            raise InputError("the objective has no examples to average over; give at least one")
        self.loss = loss
        self.block = block
        named = dict(network.named_parameters())
        if not named:
            raise InputError("the model has no parameters, so it has no gradient to measure")
        self._shapes = {name: parameter.shape for name, parameter in named.items()}
        self._sizes = [parameter.numel() for parameter in named.values()]
        self.layers: dict[str, list[slice]] = {}
        start = 0
        for name, size in zip(named, self._sizes, strict=True):
            layer = name.rpartition(".")[0] or name
            if named[name].requires_grad:
                self.layers.setdefault(layer, []).append(slice(start, start + size))
            start += size
        kept = [
            masks[name] if masks and name in masks else torch.ones_like(p, dtype=torch.bool)
            for name, p in named.items()
        ]
        self.mask = torch.cat([mask.reshape(-1) for mask in kept])
        trained = [mask & p.requires_grad for mask, p in zip(kept, named.values(), strict=True)]
        self.trained = torch.cat([mask.reshape(-1) for mask in trained])
        self.initial = self.flatten(network)

    def follow(self, network: nn.Module) -> Tensor:
        """Take the buffers of the network as it is now, as running means, and return its weights."""
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
        return self.flatten(network)

    def flatten(self, network: nn.Module) -> Tensor:
        """Return the masked weights of a network of the same shape as one new vector."""
        return torch.cat([p.detach().reshape(-1) for p in network.parameters()]) * self.mask

    def outputs(self, weights: Tensor, images: Tensor) -> Tensor:
        """Return the network's outputs with its weights taken from the vector."""
        parts = weights.split(self._sizes)
        parameters = {
            name: part.view(shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)
        }
        result: Tensor = functional_call(self.network, parameters, (images,))
        return result

    def evaluate(self, weights: Tensor, indices: Tensor | None = None) -> Evaluation:
        """Return loss and gradient of the mean over `indices`, by default over the whole training set.

        Parameters
        ----------
        weights : Tensor, shape (P,)
        indices : Tensor, optional
            int64, any number of examples.
        """
        indices = self.indices if indices is None else indices
        weights = weights.detach().requires_grad_()
        total = 0.0
        gradient = torch.zeros(len(weights), dtype=torch.float64)
        norms = []
        for chosen in indices.split(self.block):
            outputs = self.outputs(weights, self.images[chosen])
            loss = self.loss(outputs, self.labels[chosen]).sum()
            part, by_output = torch.autograd.grad(loss, [weights, outputs])
            total += loss.item()
            gradient += part
            norms.append(by_output.flatten(1).double().square().sum(1))
        return Evaluation(total / len(indices), gradient.mul_(self.trained) / len(indices), torch.cat(norms))

    def per_example(self, weights: Tensor, indices: Tensor) -> Iterator[Tensor]:
        """Yield the gradients of single examples, ``(b, P)`` for one block of `indices` after another.

        A block is as large as `PER_EXAMPLE_ENTRIES` allows.
        """

        def loss_of_one(weights: Tensor, image: Tensor, label: Tensor) -> Tensor:
            return self.loss(self.outputs(weights, image[None]), label[None])[0]

        gradients = vmap(grad(loss_of_one), in_dims=(None, 0, 0))
        weights = weights.detach()
        size = min(self.block, max(1, PER_EXAMPLE_ENTRIES // len(weights)))
        for chosen in indices.split(size):
            yield gradients(weights, self.images[chosen], self.labels[chosen]).detach().mul_(self.trained)

    def shares(self, squares: Tensor) -> dict[str, float]:
        """Return the part of each layer in the sum of a vector of squares, ``(P,)``; they add up to 1."""
        total = float(squares.sum())
        if total == 0:
            return dict.fromkeys(self.layers, 0.0)
        return {
            layer: sum(float(squares[place].sum()) for place in places) / total
            for layer, places in self.layers.items()
        }
