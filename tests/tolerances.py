"""How far a float result may be from the float64 reference, in one place.

A sum of n terms in any order, with or without fused multiply-add, is off by at most about λ·√n·u·Σ|terms|,
with u the unit roundoff, where rounding errors behave as if independent (Higham and Mary 2019, λ = √(2
ln(2/p)) for a chance p of being wrong). λ = 8 makes p = 2e-14 per number, and still sees a single lost term
of average size in any sum of up to 10,000 terms.
"""

import torch
from torch import Tensor

LAMBDA = 8.0
UNIT_ROUNDOFF = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}


def rounding(magnitude: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """Return the tolerance of each number, from its Σ|terms| in float64 and its count of terms."""
    return LAMBDA * max(length, 1) ** 0.5 * UNIT_ROUNDOFF[dtype] * magnitude


def assert_within_rounding(
    actual: Tensor, expected: Tensor, magnitude: Tensor, length: int, what: str = ""
) -> None:
    """Hold numbers against float64 ones; NaN and infinities must be in the same places."""
    assert actual.shape == expected.shape, (
        f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    )
    got = actual.detach().double()
    finite = expected.isfinite()
    assert torch.equal(got[~finite].nan_to_num(), expected[~finite].nan_to_num()), (
        f"{what}: NaN or Inf differ"
    )
    off = (got - expected).abs()[finite]
    allowed = rounding(magnitude[finite], length, actual.dtype)
    worst = (off - allowed).argmax() if off.numel() else None
    assert worst is None or off[worst] <= allowed[worst], (
        f"{what}: off by {off[worst]:.3g}, rounding of {length} terms allows {allowed[worst]:.3g} "
        f"({(~(off <= allowed)).sum()} of {off.numel()} numbers are off)"
    )
