"""Plans: a forward and a backward pass over n examples as lists of calls into the compiled core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sparsefit.conv.geometry import Geometry
from sparsefit.conv.kernels import ALIGNMENT, load_core
from sparsefit.conv.layout import lanes_for
from sparsefit.conv.masked_layer import SparseLayer

Call = Callable[[], object]

Gradients = Mapping[SparseLayer, tuple[Tensor, Tensor | None]]
"""Where the gradients of a layer's values and bias go."""


class Value(NamedTuple):
    """A blocked activation ``(blocks, C, H, W, lanes)`` and its gradient (unused unless training).

    H and W include a border of zeros around each image, where a convolution that pads finds them in place.
    Data that is `rectified` is the output of a ReLU; the gradient is that of its input then.
    """

    data: Tensor
    grad: Tensor
    border: int
    rectified: bool = False

    @property
    def size(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of the images."""
        _, channels, height, width, _ = self.data.shape
        return channels, height - 2 * self.border, width - 2 * self.border


class Memory:
    """Buffers that plans share, as only one runs at a time."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return an aligned tensor, in the memory of earlier ones of the name if that is enough."""
        size = torch.Size(shape).numel()
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size + ALIGNMENT:
            buffer = self._buffers[name] = torch.zeros(size + ALIGNMENT, dtype=dtype)
        start = -buffer.data_ptr() % ALIGNMENT // buffer.element_size()
        return buffer[start : start + size].view(*shape)


class Plan:
    """The calls of one pass over `n` examples; methods append layers, `finish` closes it.

    Parameters
    ----------
    n : int
        Examples.
    input_shape : sequence of int
        ``(C, H, W)``.
    memory : Memory
    gradients : Gradients
        Written anew by every backward pass.
    border : int
        Zeros that the convolutions put around images of more than one pixel.
    training : bool
        Whether there is a backward pass.
    """

    def __init__(
        self,
        n: int,
        input_shape: Sequence[int],
        memory: Memory,
        gradients: Gradients,
        *,
        border: int,
        training: bool,
    ) -> None:
        self.n = n
        self.lanes = lanes_for(n)
        self._core = load_core()
        self._memory = memory
        self._gradients = gradients
        self._border = border
        self._training = training
        self._n_values = 0
        self._held: list[Tensor] = []
        self._forward: list[Call] = []
        self._backward: list[list[Call]] = []
        self.input = self.value(*input_shape)

    def value(self, channels: int, height: int, width: int) -> Value:
        """Return a new activation, with a border unless it is one pixel."""
        self._n_values += 1
        border = 0 if height * width == 1 else self._border
        sides = height + 2 * border, width + 2 * border
        shape = (-(-self.n // self.lanes), channels, *sides, self.lanes)
        data = self._take("data", shape)
        return Value(data, self._take("grad", shape) if self._training else data, border)

    def _take(self, kind: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return memory for the newest activation and hold it: the calls know its address only.

        Plans of other lanes have their borders elsewhere, so they have memory of their own.
        """
        self._held.append(self._memory.take(f"{kind} {self._n_values} of {self.lanes}", shape, dtype))
        return self._held[-1]

    def conv(
        self,
        x: Value,
        layer: nn.Module,
        *,
        relu: bool = False,
        pool: bool = False,
        first: bool = False,
        stride_2: bool = False,
        output: Value | None = None,
        add: Value | None = None,
        copy: Value | None = None,
        means: Value | None = None,
        grad_after: Tensor | None = None,
    ) -> Value:
        """Append a convolution or linear layer; what surrounds it is done while its numbers are in registers.

        Parameters
        ----------
        x : Value
        layer : SparseLayer
        relu : bool
            Append a ReLU.
        pool : bool
            Append a ReLU and max-pooling by 2.
        first : bool
            There is no gradient to the input.
        stride_2 : bool
            TensorFlow's SAME padding at stride 2: taps past the bottom and right edge read zeros.
        output : Value, optional
            Where the output goes.
        add : Value, optional
            Is added to the first channels of the output, before the ReLU.
        copy : Value, optional
            Where the output goes through a ReLU too (see `rectified`).
        means : Value, optional
            To its first channels `average_pool` of `x` was added: its gradient is part of that of `x`.
        grad_after : Tensor, optional
            What uses of the number before the ReLU that gave `x` add to its gradient.
        """
        assert isinstance(layer, SparseLayer)
        core, g = self._core, layer.geometry
        height, width = x.size[1:]
        size = (height // 2, width // 2) if stride_2 else g.output_size(height, width)
        y = (output or self.value(g.c_out, *size))._replace(rectified=relu)
        conv = self._conv(g, x, y)
        values, pattern = layer.values.data_ptr(), layer.pattern.data_ptr()
        to_values, to_bias = self._gradients[layer]
        bias, grad_bias = (0, 0) if pool else (pointer(layer.bias), pointer(to_bias))
        data, into, grad = (
            self._operand(tensor, value.border) for tensor, value in ((x.data, x), (y.data, y), (y.grad, y))
        )
        pooled, pooling, unpool = self._pooling(y, layer) if pool else (y, None, None)
        finish = self._sum(add, copy) if add or copy else None
        self._forward.append(
            partial(core.forward, conv, data, values, bias, pattern, into, 1, relu, finish, pooling)
        )
        calls: list[Call] = []
        if unpool and not first:  # two passes read the gradient to the map, so it is written out
            calls.append(unpool)
            pooling = None
        weight_arguments = conv, data, grad, pattern, to_values.data_ptr(), grad_bias, 1, pooling
        calls.append(partial(core.backward_weight, *weight_arguments))
        if not first:
            into, finish = self._operand(x.grad, x.border), self._gradient_sum(x, means, grad_after)
            calls.append(partial(core.backward_input, conv, grad, values, pattern, into, 1, finish))
        self._backward.append(calls)
        return pooled

    def _conv(self, geometry: Geometry, x: Value, y: Value) -> Any:
        """Return the sizes of a convolution of `x` to `y`."""
        g, (_, h_in, w_in), (_, h_out, w_out) = geometry, x.size, y.size
        return self._core.Conv(
            n=self.n,
            c_in=g.c_in,
            h_in=h_in,
            w_in=w_in,
            c_out=g.c_out,
            h_out=h_out,
            w_out=w_out,
            kh=g.kh,
            kw=g.kw,
            stride_h=g.stride_h,
            stride_w=g.stride_w,
            pad_top=g.pad_top,
            pad_left=g.pad_left,
        )

    def _sum(self, add: Value | None, copy: Value | None) -> Any:
        """Return what finishes an output, see `conv`."""
        return self._core.Finish(
            before=pointer(add.data if add else None),
            before_channels=add.size[0] if add else 0,
            rectified=pointer(copy.data if copy else None),
        )

    def _gradient_sum(self, x: Value, means: Value | None, grad_after: Tensor | None) -> Any:
        """Return what finishes the gradient to `x`, see `conv`."""
        assert means is None or means.border == x.border
        return self._core.Finish(
            before=pointer(means.grad if means else None),
            before_channels=means.size[0] if means else 0,
            means=means is not None,
            gate=x.data.data_ptr() if x.rectified else 0,
            after=pointer(grad_after),
        )

    def _pooling(self, x: Value, layer: SparseLayer) -> tuple[Value, Any, Call]:
        """Return what bias, ReLU and max-pooling by 2 make of the output of a layer, and how.

        For passes of the layer, and for the gradient to `x` in a call of its own.
        """
        channels, height, width = x.size
        y = self.value(channels, height // 2, width // 2)
        pool = self._pool(x, y.border)
        places = pointer(self._take("places", y.data.shape, torch.uint8))
        output, grad, grad_bias = y.data.data_ptr(), y.grad.data_ptr(), pointer(self._gradients[layer][1])
        pooling = self._core.Pooling(
            pool=pool,
            bias=pointer(layer.bias),
            output=output,
            places=places if self._training else 0,
            grad_output=grad,
            grad_bias=grad_bias,
        )
        back = self._core.bias_relu_max_pool_backward
        return (
            y,
            pooling,
            partial(back, self._shape(x), pool, output, grad, places, pointer(x.grad), grad_bias, 1),
        )

    def rectified(self, x: Value) -> Value:
        """Return the place of `x` after a ReLU; both have one gradient, that of `x`."""
        return x._replace(data=self.value(*x.size).data, rectified=True)

    def flatten(self, x: Value) -> Value:
        """Return the same memory as ``C · H · W`` channels of one pixel."""
        blocks, *rest, lanes = x.data.shape
        shape = (blocks, torch.Size(rest).numel(), 1, 1, lanes)
        return Value(x.data.view(shape), x.grad.view(shape), 0, x.rectified)

    def average_pool(self, x: Value) -> Value:
        """Append means of 2 × 2 pixels of `x`; the gradient is left to a convolution of `x`."""
        channels, height, width = x.size
        pooled = self.value(channels, height // 2, width // 2)
        pool = self._pool(x, pooled.border)
        self._forward.append(
            partial(
                self._core.average_pool, self._shape(x), pool, x.data.data_ptr(), pooled.data.data_ptr(), 1
            )
        )
        return pooled

    def global_average_pool(self, x: Value) -> Value:
        """Append the mean over all pixels."""
        core, shape = self._core, self._shape(x)
        y = self.value(x.size[0], 1, 1)
        self._forward.append(
            partial(core.global_average_pool, shape, x.data.data_ptr(), y.data.data_ptr(), 1)
        )
        back = core.global_average_pool_backward
        calls: list[Call] = [partial(back, shape, y.grad.data_ptr(), x.grad.data_ptr(), 1)]
        if x.rectified:
            output, grad = x.data.data_ptr(), x.grad.data_ptr()
            calls.append(partial(core.relu_backward, shape, output, grad, grad, 1))
        self._backward.append(calls)
        return y

    def finish(self, logits: Value) -> None:
        """Close the plan with its output."""
        self._logits = logits
        self._logits_shape = self._shape(logits)
        self._input_shape = self._shape(self.input)
        self._backward_calls = [call for calls in reversed(self._backward) for call in calls]

    def evaluate(self, images: Tensor) -> Tensor:
        """Return new logits ``(n, classes)`` of images ``(n, C, H, W)``."""
        self._run_forward(images)
        logits = torch.empty(self.n, self._logits.size[0], 1, 1)
        logits_at = self._core.Operand(logits.data_ptr(), strides=logits.stride())
        self._core.from_blocked(self._logits_shape, self._logits.data.data_ptr(), logits_at, 1)
        return logits[:, :, 0, 0]

    def gradient(self, images: Tensor, labels: Tensor, divisor: int) -> float:
        """Return the sum of the cross-entropies over `divisor` and write its gradients of all layers.

        Parameters
        ----------
        images, labels : Tensor
            ``(n, C, H, W)`` and ``(n,)``, contiguous int64.
        divisor : int
        """
        self._run_forward(images)
        loss = self._core.cross_entropy(
            self._logits_shape,
            self._logits.data.data_ptr(),
            labels.data_ptr(),
            divisor,
            self._logits.grad.data_ptr(),
        )
        for call in self._backward_calls:
            call()
        return loss

    def _run_forward(self, images: Tensor) -> None:
        images_at = self._core.Operand(images.data_ptr(), strides=images.stride())
        self._core.to_blocked(self._input_shape, images_at, self.input.data.data_ptr(), 1)
        for call in self._forward:
            call()

    def _shape(self, value: Value) -> Any:
        """Return the sizes of a value."""
        channels, height, width = value.size
        return self._core.Blocked(
            n=self.n,
            channels=channels,
            height=height,
            width=width,
            lanes=self.lanes,
            border=value.border,
        )

    def _pool(self, value: Value, border: int) -> Any:
        """Return windows of 2 × 2 pixels; the border is that of the output."""
        height, width = (side // 2 for side in value.size[1:])
        return self._core.Pool(
            kernel_h=2, kernel_w=2, stride_h=2, stride_w=2, h_out=height, w_out=width, border=border
        )

    def _operand(self, tensor: Tensor, border: int) -> Any:
        return self._core.Operand(tensor.data_ptr(), lanes=self.lanes, border=border)


def pointer(tensor: Tensor | None) -> int:
    """Return the address of a tensor, 0 if there is none."""
    return 0 if tensor is None else tensor.data_ptr()
