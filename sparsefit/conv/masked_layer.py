"""What both sparse layers share: values by a mask, and the mask's way through devices and state dicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from sparsefit.conv import op
from sparsefit.conv.call import Call
from sparsefit.conv.dispatch import Choice, autocast_is_on, check_backend, choices, get_backend
from sparsefit.conv.geometry import Geometry
from sparsefit.conv.mask import check_mask, shape_text
from sparsefit.conv.packed import gather, pattern, positions, scatter
from sparsefit.errors import InputError


class SparseLayer(nn.Module, ABC):
    """A layer with a fixed mask.

    Parameters are ``values``, the kept weights (nnz,) ordered as ``weight[mask]``, and ``bias``. The buffer
    ``mask`` travels in the state dict; it is not to be written to: another one comes with its values, by
    ``load_state_dict``. What the kernels need besides, the buffers ``positions`` and ``pattern``, is made
    from it, and made anew where something cast, averaged or emptied them: the core follows what they hold.
    """

    values: nn.Parameter
    bias: nn.Parameter | None
    mask: Tensor
    positions: Tensor
    pattern: Tensor
    _watched: Tensor
    _watched_mask: Tensor
    _seen: int | None

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

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":
            raise AttributeError(
                f"{type(self).__name__} has no weight to assign: write its values, as weight[mask], or make "
                "a layer of another mask with from_dense"
            )
        super().__setattr__(name, value)

    @property
    def sparsity(self) -> float:
        """Share of the weights that are not kept, in [0, 1]."""
        return 1 - self.positions.shape[0] / max(self.geometry.weight_count, 1)

    def dense_weight(self) -> Tensor:
        """Return the dense weight, zeros where the mask is; differentiable with respect to ``values``."""
        self._check_tables()
        return scatter(self.values, self.positions, tuple(self.mask.shape))

    def choice(self) -> list[Choice]:
        """Return what the backend "auto" has chosen so far for layers like this one; they print well."""
        density = round(self.positions.shape[0] / max(self.geometry.weight_count, 1), 2)
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
        with torch.inference_mode(False):  # a layer is made for more than the call that makes this anew
            self.register_buffer("positions", positions(mask), persistent=False)
            kernel_mask = mask.view(self.geometry.weight_shape)
            self.register_buffer("pattern", pattern(kernel_mask, self.geometry.groups), persistent=False)
        self._watch()

    def _watch(self) -> None:
        """Remember the pattern as it is now."""
        self._watched, self._watched_mask = self.pattern, self.mask
        self._seen = None if self._watched.is_inference() else self._watched._version

    def _check_tables(self) -> None:
        """Make anew what comes from the mask if something wrote to it, as averages over buffers do.

        Another pattern in its place, as ``torch.func.functional_call`` puts there, comes with its own mask;
        another mask without its tables is refused.
        """
        if self.positions.is_meta and not self.values.is_meta:
            raise InputError(
                f"this {type(self).__name__} has no mask yet, its memory was given by to_empty: "
                "load a state dict first"
            )
        watched = self._watched
        if self._seen is not None and watched._version != self._seen and self.pattern is watched:
            self._set_mask(self.mask)
        elif (
            self.pattern is watched
            and self.mask is not self._watched_mask
            and not torch.equal(self.mask, self._watched_mask)
        ):
            raise InputError(
                f"this {type(self).__name__} was given another mask without what is made from it: use "
                "load_state_dict, or pass functional_call all of dict(other.named_buffers())"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy gets, right tables among it."""
        if not self.mask.is_meta:
            self._check_tables()
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy."""
        super().__setstate__(state)
        self._watch()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Let mask and tables go to another device, and be neither cast nor emptied."""
        before = {name: getattr(self, name) for name in ("mask", "positions", "pattern")}
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = getattr(self, name)
            if new is old:
                continue
            if not (old.is_meta and not new.is_meta):
                setattr(self, name, old.to(new.device))
            elif name == "mask":
                self.mask = torch.zeros(old.shape, dtype=torch.bool, device=new.device)
            else:
                setattr(self, name, old)  # still without content: see `_check_tables`
        self._watch()
        return self

    def _convolve(self, input: Tensor, n: int | None, *, with_bias: bool = True) -> Tensor:
        if not torch.compiler.is_compiling():
            self._check_tables()
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
        self._follow_values()

    def _follow_values(self) -> None:
        """Bring mask and tables to the device of the values, which ``assign=True`` may have changed."""
        device = self.values.device
        for name in ("mask", "positions", "pattern"):
            table = getattr(self, name)
            if table.device != device and "meta" not in (table.device.type, device.type):
                setattr(self, name, table.to(device))
        self._watch()

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
        old_mask, old_values = self.mask, self.values.data
        self._set_mask(mask)
        if is_old:
            return
        # In place, so that an optimizer that holds the parameter goes on holding it.
        self.values.data = self.values.data.new_zeros(kept)
        if self._gradient_is_expected_elsewhere():
            self.values.data = old_values
            self._set_mask(old_mask)
            raise InputError(
                f"{prefix}mask cannot change while a graph holds the old one: drop earlier outputs and "
                "losses, and load before DistributedDataParallel wraps the model"
            )
        self.values.grad = None

    def _gradient_is_expected_elsewhere(self) -> bool:
        """Whether something alive waits for a gradient of another shape to the values."""
        if not self.values.requires_grad or self.values.is_meta:
            return False
        node = get_gradient_edge(self.values).node
        return tuple(node._input_metadata[0].shape) != tuple(self.values.shape)
