"""The built-in models without autograd: every pass of the compiled core, in blocks from first layer to last.

Weights, gradients and activations of a trial stay where they are, so a pass over a micro-batch of a given
size is a list of calls whose arguments are known beforehand (`blocked_plan.Plan`). What autograd and tensor
bookkeeping cost, more than the arithmetic at a batch of two, is paid once a plan. Biases, ReLU and pooling
are done in the passes of the convolutions as far as the core goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparsefit.conv.masked_layer import SparseLayer
from sparsefit.experiment.blocked_plan import Gradients, Memory, Plan, Value
from sparsefit.experiment.model import Block, ResNet8, SimpleCNN


def make_blocked(module: nn.Module) -> BlockedNetwork | None:
    """Return the network of a built-in model made sparse by `sparsefit.conv.sparsify`, None for any other."""
    whole = not any(isinstance(layer, nn.Conv2d | nn.Linear) for layer in module.modules())
    return BlockedNetwork(module) if whole and isinstance(module, SimpleCNN | ResNet8) else None


class BlockedNetwork:
    """A built-in model whose layers are sparse; see `network.Network`.

    Parameters
    ----------
    module : SimpleCNN or ResNet8
        After `sparsefit.conv.sparsify`, which gave every layer a mask.
    """

    def __init__(self, module: SimpleCNN | ResNet8) -> None:
        self.module = module
        # Activations stay in the cache; 16 for `SimpleCNN` loses at low sparsity, 128 for both at high.
        self.micro_batch = 32 if isinstance(module, SimpleCNN) else 16
        self._parameters = list(module.parameters())
        # Passes write gradients, they do not add; each parameter has a place for the last micro-batch.
        self._parts = [torch.zeros_like(parameter) for parameter in self._parameters]
        parts = dict(zip(self._parameters, self._parts, strict=True))
        self._gradients: Gradients = {
            layer: (parts[layer.values], None if layer.bias is None else parts[layer.bias])
            for layer in module.modules()
            if isinstance(layer, SparseLayer)
        }
        self._memory = Memory()
        self._plans: dict[tuple[int, bool], Plan] = {}

    def parameters(self) -> Sequence[nn.Parameter]:
        """See `network.Network.parameters`."""
        return self._parameters

    def evaluate(self, images: Tensor) -> Tensor:
        """See `network.Network.evaluate`."""
        with torch.inference_mode():
            return self._plan(images, training=False).evaluate(images)

    def add_gradient(self, images: Tensor, labels: Tensor, divisor: int) -> float:
        """See `network.Network.add_gradient`."""
        with torch.inference_mode():
            loss = self._plan(images, training=True).gradient(images, labels, divisor)
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            torch._foreach_add_(gradients, self._parts)
        return loss

    def _plan(self, images: Tensor, *, training: bool) -> Plan:
        """Return the plan of a batch; made once the optimizer has given the parameters their place."""
        key = (len(images), training)
        if key not in self._plans:
            simple = isinstance(self.module, SimpleCNN)
            chain = chain_simple_cnn if simple else chain_resnet8
            plan = Plan(
                len(images),
                images.shape[1:],
                self._memory,
                self._gradients,
                border=0 if simple else 1,
                training=training,
            )
            plan.finish(chain(plan, self.module))
            self._plans[key] = plan
        return self._plans[key]


def chain_simple_cnn(plan: Plan, module: nn.Module) -> Value:
    """Append the layers of `SimpleCNN`."""
    x = plan.input
    for number in (1, 2):
        x = plan.conv(x, module.get_submodule(f"conv{number}"), first=number == 1, pool=True)
    x = plan.flatten(x)
    if hasattr(module, "hidden"):
        x = plan.conv(x, module.get_submodule("hidden"), relu=True)
    return plan.conv(x, module.get_submodule("fc"))


def chain_resnet8(plan: Plan, module: nn.Module) -> Value:
    """Append the layers of `ResNet8`."""
    first = module.get_submodule("conv1")
    assert isinstance(first, SparseLayer)
    x = plan.value(first.geometry.c_out, *plan.input.size[1:])
    active = plan.rectified(x)
    plan.conv(plan.input, first, first=True, output=x, copy=active)
    for number in (1, 2, 3):
        block = module.get_submodule(f"block{number}")
        assert isinstance(block, Block)
        channels, height, width = active.size
        if block.shortcut is None:
            y = plan.value(channels, height, width)
            hidden = plan.conv(active, block.conv1, relu=True, grad_after=y.grad)
            shortcut = x
        else:
            y = plan.value(2 * channels, height // 2, width // 2)
            hidden = plan.conv(active, block.conv1, relu=True, stride_2=True, means=y)
            shortcut = plan.average_pool(active)
        # Only a block with the identity needs its input without the ReLU, and none follows another.
        active = plan.conv(hidden, block.conv2, relu=True, output=y, add=shortcut)
    return plan.conv(plan.global_average_pool(active), module.get_submodule("fc"))
