"""The cases that torch tests its own conv2d and linear with, under full and random masks."""

import warnings

import pytest
import torch
from torch import nn

from sparsefit.conv import SparseConv2d, SparseLinear
from tests.tolerances import assert_within_rounding

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db


def samples(name):
    """Return torch's own sample inputs of an operator, in float32."""
    (info,) = [op for op in op_db if op.name == f"nn.functional.{name}" and not op.variant_test_name]
    return list(info.sample_inputs("cpu", torch.float32, requires_grad=True))


def conv_of(weight, bias, stride=1, padding=0, dilation=1, groups=1):
    """Return a layer for the arguments of functional.conv2d."""
    c_out, c_in, kh, kw = weight.shape
    layer = nn.Conv2d(
        c_in * groups, c_out, (kh, kw), stride, padding, dilation, groups, bias=bias is not None
    )  # fmt: skip
    return fill(layer, weight, bias)


def linear_of(weight, bias=None):
    """Return a layer for the arguments of functional.linear."""
    return fill(nn.Linear(weight.shape[1], weight.shape[0], bias is not None), weight, bias)


def fill(layer, weight, bias):
    """Give a layer its numbers."""
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def is_for_layers(sample):
    """Whether a layer can be made of a sample: linear also takes a weight without its first dimension."""
    return sample.args[0].dim() >= 2 and sample.args[0].numel() > 0


CASES = [
    pytest.param(name, i, sample, id=f"{name}-{i}")
    for name in ("conv2d", "linear")
    for i, sample in enumerate(samples(name))
    if is_for_layers(sample)
]


def test_there_are_samples_of_both():
    assert sum(case.values[0] == "conv2d" for case in CASES) > 10
    assert sum(case.values[0] == "linear" for case in CASES) > 4


@pytest.mark.parametrize("density", [1.0, 0.4], ids=["full mask", "random mask"])
@pytest.mark.parametrize(("name", "i", "sample"), CASES)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_sample_matches_torch_in_float64(name, i, sample, density):
    weight, *rest = sample.args
    make, kind = {"conv2d": (conv_of, SparseConv2d), "linear": (linear_of, SparseLinear)}[name]
    dense = make(weight, *rest, **sample.kwargs)
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(i)) < density
    layer = kind.from_dense(dense, mask, backend="sparse")
    x = sample.input.detach().clone().requires_grad_()
    y = layer(x)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(i))
    y.backward(grad)

    def reference(transform):
        """Return output and gradients in float64, of the numbers or of their magnitudes."""
        twin = make(weight, *rest, **sample.kwargs).double()
        with torch.no_grad():
            twin.weight.copy_(transform(twin.weight * mask))
            if twin.bias is not None:
                twin.bias.copy_(transform(twin.bias))
        x64 = transform(x.detach().double()).requires_grad_()
        output = twin(x64)
        output.backward(transform(grad.double()))
        return (
            output.detach(),
            x64.grad,
            twin.weight.grad[mask],
            None if twin.bias is None else twin.bias.grad,
        )

    got = (y.detach(), x.grad, layer.values.grad, None if layer.bias is None else layer.bias.grad)
    length = max(y.numel(), weight.numel()) + 1  # no sum here is longer
    for actual, want, size in zip(got, reference(lambda t: t), reference(torch.abs), strict=True):
        if actual is not None:
            assert_within_rounding(actual, want, size, length)
