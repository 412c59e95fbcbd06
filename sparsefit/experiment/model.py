"""Models: the networks of the paper and its release, and a hook for the user's own.

The built-in models are chains of named, plain torch layers, so that `sparsefit.conv.sparsify` can swap every
``Conv2d`` and ``Linear`` by name and a blocked-layout forward can follow the same chain.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsefit.errors import InputError

TRUNCATION = 0.87962566103423978
"""Standard deviation of a unit normal cut at two standard deviations; dividing by it restores variance 1."""


class SimpleCNN(nn.Sequential):
    """Two convolutions with max-pooling, then fully connected layers; no dropout.

    Parameters
    ----------
    input_shape : tuple of int
        ``(C, H, W)``.
    n_classes : int
    filters : tuple of int
        Output channels of the two convolutions.
    kernel : int
        Side of their square kernels.
    padding : int
        Zeros on every side: 0 is TensorFlow's VALID, ``kernel // 2`` its SAME at stride 1.
    hidden : int
        Units of a hidden fully connected layer; 0 leaves it out.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_classes: int,
        *,
        filters: tuple[int, int] = (32, 64),
        kernel: int = 5,
        padding: int = 0,
        hidden: int = 0,
    ) -> None:
        channels, height, width = input_shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, n_filters in enumerate(filters, start=1):
            layers[f"conv{number}"] = nn.Conv2d(channels, n_filters, kernel, padding=padding)
            layers[f"relu{number}"] = nn.ReLU()
            layers[f"pool{number}"] = nn.MaxPool2d(2)
            height, width = ((side + 2 * padding - kernel + 1) // 2 for side in (height, width))
            channels = n_filters
        if min(height, width) < 1:
            raise InputError(
                f"this Simple-CNN does not fit images of shape {tuple(input_shape)}: no pixel is left"
            )
        features = channels * height * width
        layers["flatten"] = nn.Flatten()
        if hidden:
            layers["hidden"] = nn.Linear(features, hidden)
            layers["relu3"] = nn.ReLU()
            features = hidden
        layers["fc"] = nn.Linear(features, n_classes)
        super().__init__(layers)


class PooledShortcut(nn.Module):
    """Shortcut of a stride-2 block: average-pool by 2, then as many zero channels behind the pooled ones."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, 2 C, H / 2, W / 2)``."""
        pooled: Tensor = self.pool(x)
        return functional.pad(pooled, (0, 0, 0, 0, 0, x.shape[1]))


class Block(nn.Module):
    """Pre-activation residual block of the release: ReLU, conv, ReLU, conv, plus a shortcut; no norm.

    The identity shortcut (`shortcut` is None) takes the input *before* the first ReLU, the pooled shortcut of
    a stride-2 block takes it *after* the ReLU. TensorFlow's SAME padding at stride 2 on even sides puts no
    zeros before and one after; ``padding=1`` would shift every tap by a pixel, hence the separate `pad`.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.relu1 = nn.ReLU()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1)) if stride == 2 else nn.Identity()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=0 if stride == 2 else 1)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.shortcut = PooledShortcut() if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, c_in, H, W)`` to ``(N, c_out, H / stride, W / stride)``."""
        active = self.relu1(x)
        shortcut = x if self.shortcut is None else self.shortcut(active)
        y: Tensor = self.conv2(self.relu2(self.conv1(self.pad(active)))) + shortcut
        return y


class ResNet8(nn.Sequential):
    """ResNet-8: a 3×3 convolution without ReLU, blocks of 16, 32, 64 filters (strides 1, 2, 2), mean, FC."""

    def __init__(self, input_shape: Sequence[int], n_classes: int) -> None:
        channels, height, width = input_shape
        if height % 4 or width % 4:
            raise InputError(f"resnet-8 halves the image twice: got {height}×{width}, allowed multiples of 4")
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(channels, 16, 3, padding=1),
                block1=Block(16, 16, 1),
                block2=Block(16, 32, 2),
                block3=Block(32, 64, 2),
                relu=nn.ReLU(),
                mean=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc=nn.Linear(64, n_classes),
            )
        )


def simple_cnn_1024(input_shape: Sequence[int], n_classes: int) -> SimpleCNN:
    """Shallue's base network without dropout: SAME padding, a hidden layer of 1,024 units."""
    return SimpleCNN(input_shape, n_classes, padding=2, hidden=1024)


def simple_cnn_8x8(input_shape: Sequence[int], n_classes: int) -> SimpleCNN:
    """Simple-CNN for 8×8 images (not the paper's): 3×3 kernels, SAME padding."""
    return SimpleCNN(input_shape, n_classes, kernel=3, padding=1)


MODELS: dict[str, Callable[[Sequence[int], int], nn.Module]] = {
    "simple-cnn": SimpleCNN,
    "simple-cnn-1024": simple_cnn_1024,
    "simple-cnn-8x8": simple_cnn_8x8,
    "resnet-8": ResNet8,
}
"""The built-in models by name."""


def build(name: str, input_shape: Sequence[int], n_classes: int, seed: int) -> nn.Module:
    """Build a model whose weights depend on the seed alone.

    Parameters
    ----------
    name : str
        A name of `MODELS`, or ``"package.module:function"``: the function is called with ``input_shape`` and
        ``n_classes`` after torch's generator was seeded, and returns an initialised ``nn.Module``.
    input_shape : tuple of int
        ``(C, H, W)`` of one image.
    n_classes : int
        Length of the output.
    seed : int
        Seed of the initial weights; torch's global generator is left as it was.

    Raises
    ------
    InputError
        Unknown name, a function that cannot be imported or does not return a module, images that do not fit.
    """
    function = MODELS[name] if name in MODELS else import_function(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = function(tuple(input_shape), n_classes)
        except (Exception, SystemExit) as error:
            raise InputError(
                f"model {name!r}, called with input_shape={tuple(input_shape)} and n_classes={n_classes}, "
                f"raised {type(error).__name__}: {error}"
            ) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"model {name!r} returned {type(model).__name__}; it must return a torch.nn.Module")
    if name in MODELS:
        initialise(model, torch.Generator().manual_seed(seed))
    else:
        check_output(model, name, input_shape, n_classes)
    return model


def check_seeded(model: nn.Module, name: str, input_shape: Sequence[int], n_classes: int, seed: int) -> None:
    """Refuse a user's model whose weights, built once more, are others; see `build`."""
    if digest(model) != digest(build(name, input_shape, n_classes, seed)):
        raise InputError(
            f"model {name!r}, built twice from one seed, has other initial weights each time; only torch's "
            "generator is seeded: draw numbers from it, not from numpy's or Python's"
        )


@contextlib.contextmanager
def blamed(name: str, problem: str, remedy: str = "") -> Iterator[None]:
    """Let what a user's model raises end the block as an error that says what it was asked for."""
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"model {name!r} {problem}: {reason}{remedy and '; '}{remedy}") from error


def check_output(model: nn.Module, name: str, input_shape: Sequence[int], n_classes: int) -> None:
    """Refuse a user's model that does not map images to finite logits."""
    images = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    training = model.training
    where = f"model {name!r}, given images of shape {tuple(images.shape)}"
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            logits = model.eval()(images)
    except Exception as error:
        raise InputError(f"{where}, raised {type(error).__name__}: {error}") from error
    finally:
        model.train(training)
    if not isinstance(logits, Tensor) or logits.shape != (2, n_classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"{where}, must return logits of shape (2, {n_classes}), got {got}")
    if not logits.isfinite().all():
        raise InputError(
            f"{where}, returns outputs that are not finite; check its initialisation and its forward pass "
            "in evaluation mode"
        )


def digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's parameters and buffers: names, shapes, values."""
    found = hashlib.sha256()
    tensors = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def describe(model: nn.Module) -> str:
    """Return what tells one model from another: layers, parameters, and the size of their values.

    To three digits, so that it is the same on every machine.
    """
    norms = [f"{name} {tuple(p.shape)} {p.double().norm():.3g}" for name, p in model.named_parameters()]
    return "\n".join([repr(model), *norms])


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights as the release does, in place.

    Normal, cut at two standard deviations, with variance 1 / fan_in after the cut (TensorFlow's
    ``variance_scaling`` with its defaults); biases 0.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.zero_()
                continue
            deviation = math.sqrt(1 / parameter[0].numel()) / TRUNCATION
            nn.init.trunc_normal_(parameter, 0, deviation, -2 * deviation, 2 * deviation, generator=generator)


def import_function(name: str) -> Callable[..., object]:
    """Import the function that ``"package.module:function"`` names."""
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise InputError(
            f"unknown model {name!r}; known: {', '.join(MODELS)}, or 'package.module:function' for your own"
        )
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        raise InputError(
            f"model {name!r} cannot be imported: {type(error).__name__}: {error}; the module must be on the "
            "Python path (PYTHONPATH) and hold the function"
        ) from error
    if not callable(function):
        raise InputError(f"model {name!r} is {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]
