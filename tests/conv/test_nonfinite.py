"""Infinities and NaN spread as products that exist carry them, and no further."""

import pytest

from tests.conv.nonfinite import CASES, SPOILT, check_nonfinite


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("case", CASES)
def test_nonfinite_numbers_spread_no_further_than_by_definition(case, spoilt):
    check_nonfinite(case, spoilt)
