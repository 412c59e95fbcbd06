"""Wrong use is refused with a message that says what was got, what is allowed and what to do."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sparsefit.conv import SparseConv2d, SparseLinear, set_backend, sparsify, to_blocked
from sparsefit.errors import InputError
from tests.conv.oracle import Case

CONV, MASK = Case().conv(), Case().mask()
LAYER = SparseConv2d.from_dense(CONV, MASK)
LINEAR = SparseLinear.from_dense(nn.Linear(6, 3), torch.ones(3, 6, dtype=torch.bool))


class Doubled(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, input):
        """Return twice the convolution."""
        return 2 * super().forward(input)


def hooked():
    """Return a convolution with a hook."""
    conv = Case().conv()
    conv.register_forward_hook(lambda *_: None)
    return conv


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK.float(), "a mask is a bool tensor, got dtype torch.float32: pass mask != 0"),
        (MASK.float().requires_grad_(), "a mask is a bool tensor, got dtype torch.float32"),
        (MASK.to(torch.uint8), "a mask is a bool tensor, got dtype torch.uint8"),
        (MASK[:, :, :2], r"must have the shape of the weight \(5, 4, 3, 3\), got \(5, 4, 2, 3\)"),
        (MASK.flatten(), r"must have the shape of the weight \(5, 4, 3, 3\), got \(180,\)"),
        (MASK.numpy(), "a mask is a bool tensor, got ndarray: pass torch.as_tensor"),
        (None, "a mask is a bool tensor, got NoneType"),
        (MASK.to("meta"), "mask and weight must be on one device, got meta and cpu: mask.to"),
    ],
)
def test_a_wrong_mask_is_refused(mask, message):
    with pytest.raises(InputError, match=message):
        SparseConv2d.from_dense(CONV, mask)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.ConvTranspose2d(4, 5, 3), "takes a torch.nn.Conv2d .*, got ConvTranspose2d"),
        (nn.Conv1d(4, 5, 3), "takes a torch.nn.Conv2d .*, got Conv1d"),
        (Doubled(4, 5, 3), "with the forward of torch.nn.Conv2d, got Doubled"),
        (
            prune.random_unstructured(Case().conv(), "weight", 0.5),
            "computed from other parameters .*prune.remove",
        ),
        (hooked(), "has hooks, which would be lost"),
        (nn.Conv2d(4, 5, 3, dtype=torch.complex64), "needs real floating-point weights, got torch.complex64"),
    ],
)
def test_a_layer_that_would_not_stay_the_same_is_refused(layer, message):
    with pytest.raises(InputError, match=message):
        SparseConv2d.from_dense(layer, MASK)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: LAYER(torch.zeros(2, 3, 9, 7)),
            r"\(channels, height, width\) = \(4, 9, 7\), got \(3, 9, 7\)",
        ),
        (
            lambda: LAYER(torch.zeros(4, 7)),
            r"takes \(N, C, H, W\), \(C, H, W\) or a Blocked batch, .*\(4, 7\)",
        ),
        (
            lambda: LAYER(torch.zeros(2, 4, 9, 7).double()),
            "input is torch.float64 .* the layer is torch.float32",
        ),
        (
            lambda: LAYER(torch.zeros(2, 4, 9, 7, device="meta")),
            "input is torch.float32 on meta, the layer is .* cpu",
        ),
        (
            lambda: LAYER(to_blocked(torch.zeros(2, 36))),
            r"needs a blocked \(N, C, H, W\), got a flattened \(2, 36\)",
        ),
        (lambda: LINEAR(torch.zeros(2, 5)), r"takes \(\.\.\., 6\), got an input of shape \(2, 5\)"),
        (lambda: LINEAR(torch.zeros(())), r"takes \(\.\.\., 6\), got an input of shape \(\)"),
        (lambda: LINEAR(to_blocked(torch.zeros(2, 6, 1, 1))), r"call it with input.flatten\(\)"),
        (lambda: to_blocked(torch.zeros(3)), r"to_blocked takes \(N, C, H, W\) or \(N, F\), got \(3,\)"),
        (lambda: set_backend("fast"), "backend must be one of auto, sparse, dense, got 'fast'"),
        (lambda: SparseConv2d.from_dense(CONV, MASK, backend="gpu"), "backend must be one of"),
    ],
)
def test_a_wrong_call_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("backend", ["sparse", "dense"])
def test_a_kernel_larger_than_the_image_is_refused(backend):
    layer = SparseConv2d.from_dense(nn.Conv2d(4, 5, 3), MASK, backend=backend)
    with pytest.raises(InputError, match=r"a kernel of 3×3 .* does not fit into an input of 2×7"):
        layer(torch.zeros(1, 4, 2, 7))


def test_blocked_input_with_another_padding_mode_is_refused():
    conv = nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect")
    layer = SparseConv2d.from_dense(conv, MASK)
    with pytest.raises(
        InputError, match=r"needs padding_mode='zeros', the layer has 'reflect': .*from_blocked"
    ):
        layer(to_blocked(torch.zeros(1, 4, 9, 7)))


MODEL = nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Linear(3, 2, bias=False))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"3": MASK}, "no Conv2d or Linear is named '3'; masks can go to: '0', '2'"),
        ({"1": MASK}, "no Conv2d or Linear is named '1'"),
        ({"0.values": MASK}, "no Conv2d or Linear is named '0.values'"),
        ({"0": MASK, "0.weight": MASK}, "layer '0' has two masks"),
        ({"0": MASK[:4]}, r"layer '0': .* must have the shape of the weight"),
        (
            {"0.bias": torch.tensor([True] * 4 + [False])},
            "kept whole or removed whole, the mask keeps 4 of 5",
        ),
        ({"0.bias": torch.ones(4, dtype=torch.bool)}, r"layer '0', bias: the mask must have the shape"),
        ({"2.bias": torch.ones(2, dtype=torch.bool)}, "layer '2' has no bias"),
    ],
)
def test_wrong_masks_of_a_model_are_refused(masks, message):
    with pytest.raises(InputError, match=message):
        sparsify(MODEL, masks)


def test_a_weight_that_two_layers_share_is_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    with pytest.raises(InputError, match="layer '0' shares its weight with '1'"):
        sparsify(model, {"0": torch.ones(3, 3, dtype=torch.bool)})


def test_numpy_masks_are_named_with_their_remedy():
    with pytest.raises(InputError, match=r"torch\.as_tensor"):
        SparseLinear.from_dense(nn.Linear(2, 2), np.ones((2, 2), dtype=bool))
