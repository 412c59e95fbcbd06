"""Every pass of the kernels against the float64 reference, strided and blocked."""

import os

import pytest

from tests.conv.oracle import Case, check_case, check_linear
from tests.conv.strategies import EDGES, LINEAR, drawn

# A forced instruction set means a repetition of the tests: fewer draws do.
EXAMPLES = 12 if os.environ.get("SPARSEFIT_FORCE_ISA") else 60


@drawn(EXAMPLES)
def test_every_pass_matches_float64_for_any_shape_and_layout(case, layout, grad_layout):
    check_case(case, layout, grad_layout)


@pytest.mark.parametrize("edge", EDGES)
def test_every_pass_matches_float64_at_the(edge):
    check_case(EDGES[edge])


@pytest.mark.parametrize(("n", "sizes", "blocked"), LINEAR)
def test_linear_matches_float64(n, sizes, blocked):
    check_linear(n, *sizes, blocked)


def test_a_layer_of_real_size_matches_float64():
    check_case(Case(n=33, c_in=64, c_out=64, size=(16, 16), density=0.1))
