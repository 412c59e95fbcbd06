"""The gradient to the input of convolutions without padding, which has kernels of its own in blocks."""

import pytest

from tests.conv.oracle import Case, check_case


@pytest.mark.parametrize("density", [0.05, 1.0])
@pytest.mark.parametrize(
    ("kernel", "size"),
    [
        ((5, 5), (12, 12)),
        ((3, 3), (10, 6)),
        ((2, 2), (5, 17)),  # the widest and the narrowest rows of the kernels, and one more
        ((2, 3), (5, 19)),
        ((1, 4), (6, 7)),
        ((4, 2), (4, 5)),
        ((5, 3), (5, 5)),
    ],
)
@pytest.mark.parametrize("n", [9, 33])
def test_without_padding_it_is_right(n, kernel, size, density):
    check_case(
        Case(
            n=n,
            c_in=3,
            c_out=29,
            size=size,
            kernel=kernel,
            stride=(1, 1),
            padding="valid",
            dilation=(1, 1),
            groups=1,
            density=density,
            bias=True,
            seed=1,
        )
    )
