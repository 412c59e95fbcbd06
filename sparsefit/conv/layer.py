"""Sparse layers: what a model holds in the place of ``torch.nn.Conv2d`` and ``torch.nn.Linear``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self, TypeVar

from torch import Tensor, nn
from torch.nn import functional

from sparsefit.conv.blocked import Blocked
from sparsefit.conv.blocked_pool import bias_relu_max_pool2d
from sparsefit.conv.geometry import Geometry
from sparsefit.conv.mask import check_tensor, shape_text
from sparsefit.conv.masked_layer import SparseLayer
from sparsefit.errors import InputError

_Dense = TypeVar("_Dense", nn.Conv2d, nn.Linear)

HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks"),
    "_load_state_dict_post_hooks",
)
"""What a module keeps its hooks in."""


class SparseConv2d(SparseLayer):
    """2-D convolution with a fixed mask; equivalent to ``torch.nn.Conv2d`` with ``weight * mask``.

    Make it with ``from_dense``. Takes (N, C_in, H, W), (C_in, H, W) or a ``Blocked`` batch.
    """

    def __init__(self, conv: nn.Conv2d, mask: Tensor, *, backend: str | None = None) -> None:
        _check_dense(conv, nn.Conv2d)
        self._arguments: dict[str, Any] = {
            "stride": conv.stride,
            "padding": conv.padding,
            "dilation": conv.dilation,
            "groups": conv.groups,
            "padding_mode": conv.padding_mode,
        }
        geometry = Geometry.of(conv.weight.shape, conv.stride, conv.padding, conv.dilation, conv.groups)
        self._edges: tuple[int, ...] | None = None
        if conv.padding_mode != "zeros":
            self._edges = (geometry.pad_left, geometry.pad_right, geometry.pad_top, geometry.pad_bottom)
            geometry = geometry._replace(pad_top=0, pad_bottom=0, pad_left=0, pad_right=0)
        super().__init__(conv, mask, geometry, backend)

    @classmethod
    def from_dense(cls, conv: nn.Conv2d, mask: Tensor, *, backend: str | None = None) -> Self:
        """Return the sparse layer that equals a convolution with ``weight * mask``.

        Parameters
        ----------
        conv : torch.nn.Conv2d
            Any convolution; it is not changed.
        mask : Tensor
            Bool, (C_out, C_in / groups, kh, kw); True keeps, also a weight that is 0.
        backend : {"auto", "sparse", "dense"}, optional
            What computes this layer; by default what ``set_backend`` says.

        Raises
        ------
        InputError
            The layer or the mask cannot be used; the message says why.
        MissingCoreError
            The compiled core was not built.
        """
        return cls(conv, mask, backend=backend)

    def forward(self, input: Tensor | Blocked) -> Tensor | Blocked:
        """Return the convolution of the input with the kept weights, plus the bias; layout as the input."""
        if isinstance(input, Blocked):
            return self._convolve_blocked(input)
        check_tensor("SparseConv2d", input)
        if input.dim() not in (3, 4):
            raise InputError(
                "SparseConv2d takes (N, C, H, W), (C, H, W) or a Blocked batch, "
                f"got an input of shape {shape_text(input.shape)}"
            )
        batch = input if input.dim() == 4 else input.unsqueeze(0)
        if self._edges is not None:
            batch = functional.pad(batch, self._edges, mode=self._arguments["padding_mode"])
        output = self._convolve(batch, None)
        return output if input.dim() == 4 else output.squeeze(0)

    def relu_max_pool2d(
        self,
        input: Blocked,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
    ) -> Blocked:
        """Return ``max_pool2d(relu(layer(input)))``; bias, ReLU and pooling take one pass over the output.

        Parameters
        ----------
        input : Blocked
            (N, C_in, H, W).
        kernel_size, stride, padding : int or pair of int
            Of the pooling, as in ``torch.nn.functional.max_pool2d``.

        Raises
        ------
        InputError
            An input that is not blocked, or that does not fit the layer.
        """
        if not isinstance(input, Blocked):
            raise InputError(
                f"relu_max_pool2d takes a Blocked batch, got {type(input).__name__}: make it with to_blocked"
            )
        output = self._convolve_blocked(input, with_bias=False)
        bias = self.values.new_zeros(self.geometry.c_out) if self.bias is None else self.bias
        return bias_relu_max_pool2d(output, bias, kernel_size, stride, padding)

    def _convolve_blocked(self, input: Blocked, *, with_bias: bool = True) -> Blocked:
        if self._edges is not None:
            raise InputError(
                "a blocked input needs padding_mode='zeros', "
                f"the layer has {self._arguments['padding_mode']!r}: call it with from_blocked(input)"
            )
        return Blocked(self._convolve(input.spatial(), input.n, with_bias=with_bias), input.n)

    def to_dense(self) -> nn.Conv2d:
        """Return the equivalent ``torch.nn.Conv2d``, zeros where the mask is."""
        g = self.geometry
        conv = nn.Conv2d(
            g.c_in,
            g.c_out,
            (g.kh, g.kw),
            bias=self.bias is not None,
            device="meta",
            **self._arguments,
        )
        return _fill_dense(conv, self)

    def _sizes_text(self) -> str:
        g = self.geometry
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._arguments.items())
        return f"{g.c_in}, {g.c_out}, kernel_size={(g.kh, g.kw)}, {arguments}"


class SparseLinear(SparseLayer):
    """Linear layer with a fixed mask; equivalent to ``torch.nn.Linear`` with ``weight * mask``.

    Make it with ``from_dense``. Takes (..., in_features) or a flattened ``Blocked`` batch.
    """

    def __init__(self, linear: nn.Linear, mask: Tensor, *, backend: str | None = None) -> None:
        _check_dense(linear, nn.Linear)
        geometry = Geometry(linear.out_features, linear.in_features, 1, 1)
        super().__init__(linear, mask, geometry, backend)

    @classmethod
    def from_dense(cls, linear: nn.Linear, mask: Tensor, *, backend: str | None = None) -> Self:
        """Return the sparse layer that equals a linear layer with ``weight * mask``.

        Parameters and errors are those of ``SparseConv2d.from_dense``; the mask is bool,
        (out_features, in_features).
        """
        return cls(linear, mask, backend=backend)

    def forward(self, input: Tensor | Blocked) -> Tensor | Blocked:
        """Return the product of the input with the kept weights, plus the bias."""
        if isinstance(input, Blocked):
            if input.ndim != 2:
                raise InputError(
                    f"SparseLinear takes a flattened blocked batch, got {shape_text(input.shape)}: "
                    "call it with input.flatten()"
                )
            output = self._convolve(input.data[:, :, None, None], input.n)
            return Blocked(output[:, :, 0, 0], input.n)
        check_tensor("SparseLinear", input)
        if input.dim() == 0 or input.shape[-1] != self.geometry.c_in:
            raise InputError(
                f"SparseLinear takes (..., {self.geometry.c_in}), "
                f"got an input of shape {shape_text(input.shape)}"
            )
        if input.dim() == 2:
            return self._convolve(input, None)
        count = math.prod(input.shape[:-1])  # not -1, which is no number where there are no features
        rows = self._convolve(input.reshape(count, self.geometry.c_in), None)
        return rows.view(*input.shape[:-1], self.geometry.c_out)

    def to_dense(self) -> nn.Linear:
        """Return the equivalent ``torch.nn.Linear``, zeros where the mask is."""
        linear = nn.Linear(self.geometry.c_in, self.geometry.c_out, bias=self.bias is not None, device="meta")
        return _fill_dense(linear, self)

    def _sizes_text(self) -> str:
        return f"in_features={self.geometry.c_in}, out_features={self.geometry.c_out}"


def _check_dense(layer: nn.Module, kind: type[nn.Module]) -> None:
    """Refuse layers whose behaviour a sparse layer would not keep."""
    name = f"torch.nn.{kind.__name__}"
    if not isinstance(layer, kind) or type(layer).forward is not kind.forward:
        raise InputError(f"from_dense takes a {name} with the forward of {name}, got {type(layer).__name__}")
    if "forward" in vars(layer) or (
        isinstance(layer, nn.Conv2d) and type(layer)._conv_forward is not nn.Conv2d._conv_forward
    ):
        raise InputError(f"this {name} computes in a way of its own, which would be lost")
    for part in ("weight", "bias"):
        parameter = layer._parameters.get(part)
        if parameter is None and (part == "weight" or layer.bias is not None):
            raise InputError(
                f"the {part} of this {name} is computed from other parameters (pruning, weight norm, ...): "
                "make it plain first, for example with torch.nn.utils.prune.remove"
            )
        if isinstance(parameter, nn.UninitializedParameter):
            raise InputError(f"the {part} of this {name} has no size yet: call the layer once")
        if parameter is not None and (parameter._backward_hooks or parameter._post_accumulate_grad_hooks):
            raise InputError(
                f"the {part} of this {name} has hooks, which would be lost: hook the new parameter"
            )
    if any(getattr(layer, hooks) for hooks in HOOKS):
        raise InputError(f"this {name} has hooks, which would be lost: remove them and hook the sparse layer")


def _fill_dense(dense: _Dense, layer: SparseLayer) -> _Dense:
    dense.weight = nn.Parameter(layer.dense_weight().detach(), requires_grad=layer.values.requires_grad)
    if layer.bias is not None:
        dense.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=layer.bias.requires_grad)
    return dense.train(layer.training)
