"""Wrong use is refused with a message that says what was got, what is allowed and what to do."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import prune

from sparsefit.conv import (
    Blocked,
    SparseConv2d,
    SparseLinear,
    from_blocked,
    set_backend,
    sparsify,
    to_blocked,
)
from sparsefit.conv.geometry import Geometry
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


class Tripled(nn.Conv2d):
    """A convolution with a computation of its own."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, 3 * weight, bias)


def changed(**attributes):
    """Return a convolution with something of its own."""
    conv = Case().conv()
    for name, value in attributes.items():
        delattr(conv, name)
        setattr(conv, name, value)
    return conv


def with_tensor_hook():
    """Return a convolution with a hook on its weight."""
    conv = Case().conv()
    conv.weight.register_hook(lambda grad: 2 * grad)
    return conv


def hooked(register):
    """Return a convolution with a hook."""
    conv = Case().conv()
    getattr(conv, register)(lambda *_: None)
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
        (Tripled(4, 5, 3), "computes in a way of its own"),
        (changed(bias=torch.zeros(5)), "bias .* computed from other parameters"),
        (with_tensor_hook(), "the weight .* has hooks, which would be lost"),
        (nn.LazyConv2d(5, 3), "weight .* has no size yet: call the layer once"),
        (nn.Conv2d(4, 5, 3, dilation=0), r"dilation must be 1 or more, got \(0, 0\)"),
        (nn.Conv2d(4, 5, 3, stride=0), r"stride must be 1 or more, got \(0, 0\)"),
        (nn.Conv2d(4, 5, 3, padding=-1), "padding must be 0 or more"),
        (
            prune.random_unstructured(Case().conv(), "weight", 0.5),
            "computed from other parameters .*prune.remove",
        ),
        (hooked("register_forward_hook"), "has hooks, which would be lost"),
        (hooked("register_load_state_dict_post_hook"), "has hooks, which would be lost"),
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
            lambda: functional_call(LAYER, {"pattern": LAYER.pattern.to("meta")}, torch.zeros(2, 4, 9, 7)),
            "the mask of the layer is on meta, its input on cpu: move one to the other",
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
        (lambda: LAYER(np.zeros((2, 4, 9, 7))), "takes a tensor, got ndarray: pass torch.as_tensor"),
        (lambda: LINEAR([1.0]), "takes a tensor, got list"),
        (lambda: LAYER(torch.zeros(2, 4, 9, 7).to_sparse()), "takes a dense tensor, .* x.to_dense"),
        (lambda: to_blocked(None), "to_blocked takes a tensor, got NoneType"),
        (lambda: from_blocked(torch.zeros(2, 4, 9, 7)), "from_blocked takes a Blocked batch, got Tensor"),
        (
            lambda: nn.BatchNorm2d(4)(to_blocked(torch.zeros(2, 4, 9, 7))),
            "batch_norm has no form",
        ),
        (lambda: Blocked(torch.zeros(1, 4, 9, 7, 16), 17), "17 samples cannot lie in 1 blocks of 16 lanes"),
        (lambda: Blocked(torch.zeros(3, 4, 9, 7, 16), 17), "17 samples cannot lie in 3 blocks of 16 lanes"),
        (lambda: Blocked(torch.zeros(1, 4, 9, 7, 16), -3), "-3 samples cannot lie in 1 blocks"),
        (lambda: Blocked(torch.zeros(5, 4, 9, 7, 2), 10), "10 samples cannot lie in 5 blocks of 2 lanes"),
        (lambda: Blocked(torch.zeros(1, 4, 9, 7, 3), 3), "with 1, 2, 4, 8, 16 lanes, got"),
        (lambda: Blocked(torch.zeros(4, 9, 7, 16), 3), r"got \(4, 9, 7, 16\): make it with to_blocked"),
        (lambda: set_backend("fast"), "backend must be one of auto, sparse, dense, got 'fast'"),
        (lambda: SparseConv2d.from_dense(CONV, MASK, backend="gpu"), "backend must be one of"),
    ],
)
def test_a_wrong_call_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_kernel_of_no_size_is_refused():
    with pytest.raises(InputError, match=r"kernel size must be 1 or more, got \(0, 3\)"):
        Geometry.of((5, 4, 0, 3))


@pytest.mark.parametrize(
    "bias", [torch.zeros(3), torch.tensor(1.0), torch.zeros(5, 2), torch.zeros(5, device="meta")]
)
def test_a_bias_that_does_not_fit_is_refused(bias):
    layer = SparseConv2d.from_dense(CONV, MASK)
    layer.bias = nn.Parameter(bias)
    with pytest.raises(InputError, match="bias"):
        layer(torch.zeros(2, 4, 9, 7))


@pytest.mark.parametrize("wrong", [None, [MASK], {0: MASK}])
def test_what_are_no_masks_by_name_is_refused(wrong):
    with pytest.raises(InputError, match="masks must be a dict"):
        sparsify(MODEL, wrong)
    with pytest.raises(InputError, match=r"nn\.Module, got str"):
        sparsify("model", {})


def test_torchs_encoder_layer_is_told_how_to_take_a_sparse_one():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    sparse = sparsify(encoder, {"linear1": torch.rand(16, 8) < 0.5})
    with torch.no_grad(), pytest.raises(AttributeError, match="set_fastpath_enabled"):
        sparse(torch.zeros(1, 3, 8))


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


def test_numpy_masks_are_named_with_their_remedy():
    with pytest.raises(InputError, match=r"torch\.as_tensor"):
        SparseLinear.from_dense(nn.Linear(2, 2), np.ones((2, 2), dtype=bool))
