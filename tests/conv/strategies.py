"""The convolutions that kernels are tested with: on the CPU, on the emulator of a GPU and on a GPU."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conv.oracle import LAYOUTS, Case

BATCHES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33]
KERNELS = [(1, 1), (3, 3), (5, 5), (7, 7), (1, 3), (3, 1), (2, 4), (5, 2)]


@st.composite
def cases(draw):
    """Draw a convolution whose kernel fits; odd sizes, height and width apart."""
    kernel = draw(st.sampled_from(KERNELS))
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    if stride == (1, 1) and draw(st.booleans()):
        padding = draw(st.sampled_from(["same", "valid"]))
    else:
        padding = (draw(st.integers(0, kernel[0])), draw(st.integers(0, kernel[1])))
    edges = padding if isinstance(padding, tuple) else (0, 0)
    size = []
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        shortest = 1 if padding == "same" else max(1, reach - 2 * edges[axis])
        size.append(draw(st.integers(shortest, shortest + 12)))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return Case(
        n=draw(st.sampled_from(BATCHES)),
        c_in=draw(st.integers(1, 6)),
        c_out=draw(st.integers(1, 9)),
        size=tuple(size),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        density=draw(st.sampled_from([0.02, 0.1, 0.5, 0.9, 1.0])),
        bias=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


def drawn(examples: int) -> Callable:
    """Return the decorator of a test of ``case``, ``layout`` and ``grad_layout``."""
    layouts = st.sampled_from(list(LAYOUTS))
    # The fixture that puts emulated kernels in place serves a whole module.
    checks = [HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    options = settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=checks)
    ignored = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
    return lambda test: ignored(options(given(case=cases(), layout=layouts, grad_layout=layouts)(test)))


def _edges() -> Iterator[tuple[str, Case]]:
    plain = Case(n=16, c_in=8, c_out=8, size=(14, 14), density=0.3)
    for n in [0, *BATCHES]:
        yield f"batch {n}", replace(plain, n=n, size=(6, 5))
    for width in [*range(1, 18), 27, 28, 29, 31]:
        yield f"row of {width}", replace(plain, size=(3, width), c_in=3, c_out=3, n=17)
    for height in [1, 2, 3, 4, 5, 7]:
        yield f"{height} rows", replace(plain, size=(height, 14), c_in=3, c_out=3)
    for size in [(1, 1), (7, 1), (8, 8), (11, 13)]:
        yield f"image {size}", replace(plain, size=size, c_in=3, c_out=4, n=17)
    for c_in in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33]:
        yield f"{c_in} input channels", replace(plain, c_in=c_in, size=(5, 6), c_out=4)
    for c_out in [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 33]:
        yield f"{c_out} output channels", replace(plain, c_out=c_out, size=(5, 6), c_in=4)
    for kept in [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 72]:
        yield f"{kept} kept weights", replace(plain, size=(6, 7), c_out=3, n=9, kept=kept)
    for stride, kernel, size in product(
        [(1, 1), (2, 2), (3, 3), (1, 2), (3, 1), (4, 5)], [(1, 1), (3, 3), (5, 3)], [(8, 8), (9, 7), (10, 11)]
    ):
        name = f"stride {stride} kernel {kernel} image {size}"
        yield name, replace(plain, stride=stride, kernel=kernel, size=size, c_in=3, c_out=4, n=5)
    for padding in [(0, 0), (2, 2), (3, 3), (5, 4), (0, 6)]:
        yield f"padding {padding}", replace(plain, padding=padding, size=(6, 5), n=3)
    for dilation in [(1, 2), (2, 1), (3, 3), (5, 5)]:
        yield f"dilation {dilation}", replace(plain, dilation=dilation, size=(13, 12), padding=(3, 4), n=3)
    for c_in, c_out, groups in [(1, 1, 8), (1, 2, 7), (4, 4, 2), (3, 5, 3)]:
        name = f"{groups} groups of {c_in} to {c_out} channels"
        yield name, replace(plain, c_in=c_in, c_out=c_out, groups=groups, density=0.5, n=5)
    for density in [0.0, 1.0]:
        yield f"density {density}", replace(plain, density=density, n=5)


EDGES = dict(_edges())
"""Sizes around those of the kernels' parts: lanes, tiles, blocks of channels, groups of weights, warps."""

LINEAR = list(product([1, 3, 8, 16, 33, 130], [(1, 1), (37, 10), (40, 65), (128, 65)], [False, True]))
"""(samples, (inputs, outputs), blocked) of linear layers."""
