"""Layers to time: the sizes in shapes/*.txt, and the operands made from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

SHAPES = Path(__file__).parent / "shapes"


@dataclass(frozen=True)
class Layer:
    """One line of a shapes file. A linear layer is a 1×1 convolution on 1×1 pixels."""

    name: str
    c_in: int
    height: int
    width: int
    c_out: int
    kernel: int
    stride: int
    pad_before: int
    pad_after: int
    first: bool  # of its network: no gradient to the input is needed

    @property
    def is_linear(self) -> bool:
        return (self.height, self.width, self.kernel) == (1, 1, 1)

    @property
    def out_size(self) -> tuple[int, int]:
        pad = self.pad_before + self.pad_after - self.kernel
        return ((self.height + pad) // self.stride + 1, (self.width + pad) // self.stride + 1)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.c_out, self.c_in, self.kernel, self.kernel)

    def flops(self, batch: int, kept: int) -> float:
        """Multiplications and additions of one pass over the kept weights, padding counted as pixels."""
        height, width = self.out_size
        return 2.0 * kept * batch * height * width


def read_layers(names: Iterable[str]) -> list[Layer]:
    """Return the layers of shapes files ("resnet-8") or single ones ("resnet-8.conv"); else all."""
    every = [layer for path in sorted(SHAPES.glob("*.txt")) for layer in _read(path)]
    wanted = list(names)
    if not wanted:
        return every
    files = {path.stem: [layer.name for layer in _read(path)] for path in SHAPES.glob("*.txt")}
    chosen = {layer for name in wanted for layer in files.get(name, [name])}
    unknown = chosen - {layer.name for layer in every}
    if unknown:
        known = ", ".join([*sorted(files), *(layer.name for layer in every)])
        raise SystemExit(f"no layer or shapes file is named {', '.join(sorted(unknown))}; there are: {known}")
    return [layer for layer in every if layer.name in chosen]


def _read(path: Path) -> list[Layer]:
    layers = []
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, *sizes, padding, first = line.split()
        before, _, after = padding.partition(":")
        layers.append(
            Layer(name, *map(int, sizes), int(before), int(after or before), first == "yes")  # type: ignore[arg-type]
        )
    return layers


class Operands:
    """Random input, gradient, weights and nested masks of a layer, the same for every candidate."""

    def __init__(self, layer: Layer, batch: int, sparsities: Iterable[float]) -> None:
        generator = torch.Generator().manual_seed(0)
        self.layer, self.batch = layer, batch
        self.input = torch.randn(batch, layer.c_in, layer.height, layer.width, generator=generator)
        self.grad_output = torch.randn(batch, layer.c_out, *layer.out_size, generator=generator)
        self.weight = torch.randn(layer.weight_shape, generator=generator) / layer.c_in**0.5 / layer.kernel
        self.bias = torch.randn(layer.c_out, generator=generator)
        # Scores, not coin tosses: the share of zeros is exact.
        order = torch.rand(layer.weight_shape, generator=generator).flatten().argsort().argsort()
        count = order.numel()
        self.masks = {s: (order >= round(s * count)).view(layer.weight_shape) for s in sparsities}

    def masked_weight(self, sparsity: float) -> Tensor:
        return self.weight * self.masks[sparsity]

    @cached_property
    def exact_grad_weight(self) -> Tensor:
        """Gradient to the dense weight in float64: that to the kept weights is a part of it."""
        layer = self.layer
        pads = (layer.pad_before, layer.pad_after) * 2
        return torch.nn.grad.conv2d_weight(
            functional.pad(self.input.double(), pads),
            list(layer.weight_shape),
            self.grad_output.double(),
            stride=layer.stride,
        )

    def exact_output(self, sparsity: float, samples: slice) -> Tensor:
        layer = self.layer
        pads = (layer.pad_before, layer.pad_after) * 2
        return functional.conv2d(
            functional.pad(self.input[samples].double(), pads),
            self.masked_weight(sparsity).double(),
            self.bias.double(),
            stride=layer.stride,
        )

    def exact_grad_input(self, sparsity: float, samples: slice) -> Tensor:
        layer = self.layer
        pad = layer.pad_before + layer.pad_after
        grad = self.grad_output[samples].double()
        padded = torch.nn.grad.conv2d_input(
            (grad.shape[0], layer.c_in, layer.height + pad, layer.width + pad),
            self.masked_weight(sparsity).double(),
            grad,
            stride=layer.stride,
        )
        before = layer.pad_before
        return padded[:, :, before : before + layer.height, before : before + layer.width]
