"""The inner loops of the kernels, read in PTX: what they load, and how much arithmetic a load feeds."""

import re
from pathlib import Path

import pytest

from tests.cuda.ptxas import SOURCES, ptx

TILES = {"sparse_conv2d_forward": (1, 2, 4, 8), "sparse_conv2d_backward_input": (1, 2, 4, 8)}
DOTS = {"sparse_conv2d_backward_weight": (4, 8)}
# Of the loop that adds up again, one weight at a time, what infinities and NaN may have spoilt.
MENDING = {
    "sparse_conv2d_forward": (1, 2, 0, 4),
    "sparse_conv2d_backward_input": (1, 3, 0, 4),
    "sparse_conv2d_backward_weight": (2, 0, 0, 4),
}


def inner_loops(text):
    """Return the bodies of the loops that contain no other loop."""
    lines = text.splitlines()
    labels = {line.rstrip(":"): i for i, line in enumerate(lines) if re.match(r"\$L__BB\w+:", line)}
    loops = [
        (labels[jump.group(1)], i)
        for i, line in enumerate(lines)
        if (jump := re.search(r"bra(?:\.uni)? \s*(\$L__BB\w+);", line)) and labels[jump.group(1)] <= i
    ]
    inner = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    return ["\n".join(lines[first : last + 1]) for first, last in inner]


def counts(body):
    """Return how many 16-byte global loads, other global loads, shared loads and multiply-adds a loop has."""
    return (
        len(re.findall(r"ld\.global(?:\.nc)?(?:\.\w+::\w+)*\.v4\.f32", body)),
        len(re.findall(r"ld\.global(?!\S*\.v4)", body)),
        len(re.findall(r"ld\.shared", body)),
        len(re.findall(r"fma\.rn\.f32", body)),
    )


def arithmetic_loops(kernel, size):
    """Return the counts of the inner loops of a kernel that multiply, but for the one that mends."""
    name = f"{kernel}<{size}>"
    (text,) = [text for source in SOURCES for found, text in ptx(source).items() if found == name]
    loops = [counts(body) for body in inner_loops(text) if "fma.rn.f32" in body]
    loops.remove(MENDING[kernel])
    return loops


@pytest.mark.parametrize(("kernel", "items"), [(k, r) for k, sizes in TILES.items() for r in sizes])
def test_a_kept_weight_costs_one_shared_load_and_a_16_byte_load_for_4_multiply_adds(kernel, items):
    loops = arithmetic_loops(kernel, items)
    assert loops
    for vectors, scalars, shared, fmas in loops:
        weights, rest = divmod(vectors, items)  # more than one where the compiler unrolled the loop
        assert weights >= 1
        assert rest == 0
        assert scalars == 0
        assert 1 <= shared <= weights
        assert fmas == 4 * vectors


@pytest.mark.parametrize(("kernel", "weights"), [(k, e) for k, sizes in DOTS.items() for e in sizes])
def test_the_weights_of_a_group_share_a_load_of_the_gradient(kernel, weights):
    loops = arithmetic_loops(kernel, weights)
    assert loops
    for vectors, scalars, shared, fmas in loops:
        rounds, rest = divmod(vectors, weights + 1)
        assert rounds >= 1
        assert rest == 0
        assert scalars == 0
        assert shared == 0
        assert fmas == 4 * weights * rounds


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: Path(path).name)
def test_kernels_use_neither_atomics_nor_local_memory_nor_double_precision(source):
    for kernel, text in ptx(source).items():
        assert not re.search(r"\b(atom|red)\.(global|shared)", text), kernel
        assert not re.search(r"\b(ld|st)\.local", text), kernel
        assert not re.search(r"\.f64\b", text), kernel
