"""Sobol points in the unit cube: the release's sequence, bit for bit, and scipy's scrambled one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from sparsefit.errors import InputError

BITS = 30

POLYNOMIALS = ((), (1,), (1, 1), (0, 1, 1))
"""a_1 .. a_d of the primitive polynomials x^d + a_1 x^(d-1) + .. + a_d, one an axis; the first has none."""

INITIAL_NUMBERS = ((1,), (1,), (1, 1), (1, 3, 7))
"""First direction integers of Bratley and Fox (Algorithm 659, 1988), as Burkardt's i4_sobol uses them.

SciPy's Joe-Kuo numbers agree on the first two axes and differ on the next two.
"""


def bratley_fox(axes: int, points: int) -> NDArray[np.float64]:
    """Return the release's unscrambled points, the zero point left out; the first is (0.5, .., 0.5).

    Parameters
    ----------
    axes : int
        1 to 4: the release has no more metaparameters.
    points : int
        How many.

    Returns
    -------
    ndarray, shape (points, axes)
        Multiples of a power of two in (0, 1).

    Raises
    ------
    InputError
        More than four axes; `scrambled` has no such limit.
    """
    if not 1 <= axes <= len(POLYNOMIALS):
        raise InputError(
            f"the release's Sobol sequence has 1 to {len(POLYNOMIALS)} axes, got {axes}; "
            'use sampling = "scrambled-sobol" for more metaparameters'
        )
    directions = np.array([direction_numbers(axis) for axis in range(axes)], dtype=np.int64)
    last = np.zeros(axes, dtype=np.int64)
    out = np.empty((points, axes))
    for index in range(points):
        lowest_zero_bit = (~index & (index + 1)).bit_length() - 1
        last ^= directions[:, lowest_zero_bit]
        out[index] = last / 2.0**BITS
    return out


def direction_numbers(axis: int) -> list[int]:
    """Return the `BITS` direction numbers of an axis, scaled to integers below ``2**BITS``."""
    coefficients = POLYNOMIALS[axis]
    degree = len(coefficients)
    numbers = list(INITIAL_NUMBERS[axis]) if degree else [1] * BITS
    for index in range(len(numbers), BITS):
        number = numbers[index - degree] ^ (numbers[index - degree] << degree)
        for power, coefficient in enumerate(coefficients[:-1], start=1):
            if coefficient:
                number ^= numbers[index - power] << power
        numbers.append(number)
    return [number << (BITS - 1 - index) for index, number in enumerate(numbers)]


def scrambled(axes: int, points: int, seed: int) -> NDArray[np.float64]:
    """Return points of scipy's scrambled Sobol sequence, shape ``(points, axes)``; the seed fixes them."""
    sequence = qmc.Sobol(axes, scramble=True, rng=np.random.default_rng(seed))
    # Drawing the whole power of two keeps the first points the same whatever the number of trials.
    return sequence.random_base2(max(points - 1, 0).bit_length())[:points]
