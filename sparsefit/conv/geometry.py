"""The sizes of a convolution that do not depend on its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sparsefit.conv.mask import shape_text
from sparsefit.errors import InputError


class Geometry(NamedTuple):
    """Weight shape, stride, padding, dilation and groups of one layer.

    A flat tuple of ints, because that is what a custom op can take. A linear layer is a 1×1 convolution on
    1×1 pixels.
    """

    c_out: int
    c_in_group: int
    kh: int
    kw: int
    stride_h: int = 1
    stride_w: int = 1
    pad_top: int = 0
    pad_bottom: int = 0
    pad_left: int = 0
    pad_right: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1

    @classmethod
    def of(
        cls,
        weight_shape: Sequence[int],
        stride: Sequence[int] = (1, 1),
        padding: str | Sequence[int] = (0, 0),
        dilation: Sequence[int] = (1, 1),
        groups: int = 1,
    ) -> Geometry:
        """Resolve the arguments of ``torch.nn.functional.conv2d``.

        Parameters
        ----------
        weight_shape : sequence of int
            (C_out, C_in / groups, kh, kw).
        stride, dilation : pair of int
        padding : {"same", "valid"} or pair of int
            "same" pads the end more where it must, as in torch.
        groups : int

        Raises
        ------
        InputError
            Another word for the padding, "same" with a stride, a size that is too small.
        """
        kh, kw = weight_shape[2:]
        if padding == "same":
            if tuple(stride) != (1, 1):
                raise InputError(
                    f"padding='same' needs stride 1, got {tuple(stride)}: give the padding as numbers"
                )
            extra_h, extra_w = dilation[0] * (kh - 1), dilation[1] * (kw - 1)
            edges = (extra_h // 2, extra_h - extra_h // 2, extra_w // 2, extra_w - extra_w // 2)
        elif padding == "valid":
            edges = (0, 0, 0, 0)
        elif isinstance(padding, str):
            raise InputError(f"padding must be 'same', 'valid' or numbers, got {padding!r}")
        else:
            edges = (padding[0], padding[0], padding[1], padding[1])
        for name, sizes, least in (
            ("number of channels", weight_shape[:2], 1),
            ("kernel size", (kh, kw), 1),
            ("stride", stride, 1),
            ("dilation", dilation, 1),
            ("padding", edges, 0),
        ):
            if min(sizes) < least:
                raise InputError(f"{name} must be {least} or more, got {shape_text(sizes)}")
        return cls._make((*weight_shape, *stride, *edges, *dilation, groups))

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape (C_out, C_in / groups, kh, kw) of the dense weight."""
        return self[:4]

    @property
    def weight_count(self) -> int:
        """Number of weights, kept or not."""
        return self.c_out * self.c_in_group * self.kh * self.kw

    @property
    def c_in(self) -> int:
        """Input channels of the layer."""
        return self.c_in_group * self.groups

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output; what torch computes, and not positive where torch refuses."""
        reach_h, reach_w = self.dilation_h * (self.kh - 1) + 1, self.dilation_w * (self.kw - 1) + 1
        return (
            (height + self.pad_top + self.pad_bottom - reach_h) // self.stride_h + 1,
            (width + self.pad_left + self.pad_right - reach_w) // self.stride_w + 1,
        )
