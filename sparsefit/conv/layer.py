"""Sparse layers: what a model holds in the place of ``torch.nn.Conv2d`` and ``torch.nn.Linear``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsefit.conv import op
from sparsefit.conv.blocked import Blocked, bias_relu_max_pool2d
from sparsefit.conv.call import Call
from sparsefit.conv.dispatch import Choice, autocast_is_on, check_backend, choices, get_backend
from sparsefit.conv.geometry import Geometry
from sparsefit.conv.mask import check_mask, check_tensor, shape_text
from sparsefit.conv.packed import gather, pattern, positions, scatter
from sparsefit.errors import InputError

_Dense = TypeVar("_Dense", nn.Conv2d, nn.Linear)


class SparseLayer(nn.Module, ABC):
    """What both sparse layers share: the kept values, the mask, and the way in and out of a state dict.

    Parameters are ``values``, the kept weights (nnz,) ordered as ``weight[mask]``, and ``bias``. The buffer
    ``mask`` travels in the state dict; what the kernels need besides is made from it.
    """

    values: nn.Parameter
    bias: nn.Parameter | None
    mask: Tensor
    positions: Tensor
    pattern: Tensor

    def __init__(self, dense: nn.Module, mask: Tensor, geometry: Geometry, backend: str | None) -> None:
        super().__init__()
        weight, bias = dense.weight, dense.bias
        assert isinstance(weight, nn.Parameter)
        name = type(self).__name__
        if not weight.dtype.is_floating_point:
            raise InputError(f"{name} needs real floating-point weights, got {weight.dtype}")
        self.geometry = geometry
        self.backend = None if backend is None else check_backend(backend)
        mask = check_mask(mask, weight, name)
        self._set_mask(mask)
        values = gather(weight.detach(), self.positions)
        self.values = nn.Parameter(values, requires_grad=weight.requires_grad)
        self.register_parameter("bias", None)
        if isinstance(bias, nn.Parameter):
            self.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
        self.train(dense.training)

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            raise AttributeError(
                f"{type(self).__name__} has no weight: its parameter is `values`, dense_weight() makes one. "
                "An nn.TransformerEncoderLayer looks for it in evaluation: "
                "torch.backends.mha.set_fastpath_enabled(False)"
            )
        return super().__getattr__(name)

    @property
    def sparsity(self) -> float:
        """Share of the weights that are not kept, in [0, 1]."""
        return 1 - self.positions.shape[0] / max(self.geometry.weight_count, 1)

    def dense_weight(self) -> Tensor:
        """Return the dense weight, zeros where the mask is; differentiable with respect to ``values``."""
        return scatter(self.values, self.positions, tuple(self.mask.shape))

    def choice(self) -> list[Choice]:
        """Return what the backend "auto" has chosen so far for layers like this one; they print well."""
        density = round(1 - self.sparsity, 2)
        return [
            choice
            for choice in choices()
            if choice.situation.geometry == self.geometry and choice.situation.density == density
        ]

    def extra_repr(self) -> str:
        """Return what repr shows: sizes, sparsity, backend."""
        backend = f", backend={self.backend!r}" if self.backend else ""
        return f"{self._sizes_text()}, sparsity={self.sparsity:.4g}, bias={self.bias is not None}{backend}"

    @abstractmethod
    def _sizes_text(self) -> str:
        """Return the sizes and the options that are not the usual ones, for `extra_repr`."""

    def _set_mask(self, mask: Tensor) -> None:
        self.register_buffer("mask", mask)
        self.register_buffer("positions", positions(mask), persistent=False)
        kernel_mask = mask.view(self.geometry.weight_shape)
        self.register_buffer("pattern", pattern(kernel_mask, self.geometry.groups), persistent=False)

    def _convolve(self, input: Tensor, n: int | None, *, with_bias: bool = True) -> Tensor:
        if autocast_is_on(input):
            # The kernels have one dtype; autocast may have given another to the layer before.
            input = input.to(self.values.dtype)
        call = Call(self.positions, self.pattern, self.geometry, n, self.backend or get_backend())
        return op.conv2d(input, self.values, self.bias if with_bias else None, call)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take the mask of the state dict first, so that its values fit."""
        mask, values = state_dict.get(f"{prefix}mask"), state_dict.get(f"{prefix}values")
        if mask is not None:
            try:
                self._take_mask(mask, values, prefix)
            except InputError as error:
                error_msgs.append(str(error))
                return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _take_mask(self, mask: Tensor, values: Tensor | None, prefix: str) -> None:
        """Become a layer with this mask; the values are loaded afterwards."""
        is_meta = self.mask.device.type == "meta"
        old = torch.empty(self.mask.shape, dtype=torch.bool) if is_meta else self.mask
        if isinstance(mask, Tensor):
            mask, old = (mask, old.to("meta")) if mask.device.type == "meta" else (mask.to(old.device), old)
        mask = check_mask(mask, old, f"{prefix}mask")
        is_old = not is_meta and torch.equal(mask, old)
        if values is None:
            if not is_old:
                raise InputError(f"{prefix}mask comes without {prefix}values, which belong to it")
            return
        kept = int(mask.sum())
        if values.shape != (kept,):
            raise InputError(
                f"{prefix}values must have the shape ({kept},) that its mask gives, got "
                f"{shape_text(values.shape)}: values and mask are not from one layer"
            )
        # Also where the mask is the old one: after `to_empty`, what was made from it is lost.
        self._set_mask(mask)
        if not is_old:
            # In place, so that an optimizer that holds the parameter goes on holding it.
            self.values.data = self.values.data.new_zeros(kept)
            self.values.grad = None


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
        """Return ``max_pool2d(relu(layer(input)))``; bias, ReLU and pooling take one pass over the output."""
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
        rows = self._convolve(input.reshape(-1, self.geometry.c_in), None)
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
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(layer, hook) for hook in hooks):
        raise InputError(f"this {name} has hooks, which would be lost: remove them and hook the sparse layer")


def _fill_dense(dense: _Dense, layer: SparseLayer) -> _Dense:
    dense.weight = nn.Parameter(layer.dense_weight().detach(), requires_grad=layer.values.requires_grad)
    if layer.bias is not None:
        dense.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=layer.bias.requires_grad)
    return dense.train(layer.training)
