"""The critical batch size of a fit by every definition in use."""

from __future__ import annotations

import numpy as np

from sparsefit.fitting.claims_curve import reached_rows
from sparsefit.fitting.results import CurveFit
from sparsefit.fitting.results_records import Estimate
from sparsefit.fitting.validation_records import CriticalBatchSize

OVERHEAD = 0.2
"""Share of work, over linear scaling, that is usually called critical."""


def critical_batch_sizes(
    fit: CurveFit, *, overhead: float = OVERHEAD, first_batch_size: float | None = None
) -> tuple[CriticalBatchSize, ...]:
    """Return the critical batch size by four definitions; docs/math.md derives them.

    Parameters
    ----------
    fit : CurveFit
    overhead : float
        r of the definitions that allow work K·B to exceed that of linear scaling by this share.
    first_batch_size : float, optional
        B0, from which linear scaling is drawn; the smallest one that reached the goal if not given.

    Notes
    -----
    ``both_overheads_double`` is B_crit of McCandlish et al. (arXiv 1812.06162), ``overhead_from_first`` the
    one of Zhang et al. (2025) with r = 20 % and their B0 = 256.
    """
    sizes, work = measured_work(fit)
    first = float(sizes[0]) if first_batch_size is None else first_batch_size
    more = f"{100 * overhead:g} %"
    critical = fit.critical_batch_size

    def shifted(factor: float, shift: float) -> Estimate:
        low = 0.0 if critical.low is None and shift > 0 else critical.low
        ends = (critical.value, low, critical.high)
        return Estimate(*(None if end is None else factor * end + shift for end in ends))

    found = (
        (
            "both_overheads_double",
            "twice the least steps and twice the least examples",
            "c1/c2",
            critical,
        ),
        ("overhead", f"{more} more examples than the least, c1", f"{overhead:g} c1/c2", shifted(overhead, 0)),
        (
            "overhead_from_first",
            f"{more} more examples than at B0 = {first:g}",
            f"{overhead:g} c1/c2 + {1 + overhead:g} B0",
            shifted(overhead, (1 + overhead) * first),
        ),
        (
            "last_linear",
            f"last measured B before the examples exceed those at B = {sizes[0]:g} by {more}; no curve",
            f"K B <= {1 + overhead:g} K0 B0",
            Estimate(last_linear(sizes, work, overhead), None, None),
        ),
    )
    return tuple(CriticalBatchSize(fit.group, *entry) for entry in found)


def measured_work(fit: CurveFit) -> tuple[np.ndarray, np.ndarray]:
    """Return the batch sizes that reached the goal, and the mean work K·B of each (geometric).

    Rows on an evaluation grid count by the middle of their interval.
    """
    size, steps = reached_rows(fit)
    sizes, place = np.unique(size, return_inverse=True)
    log_work = np.log(steps * size)
    return sizes, np.exp(np.bincount(place, log_work) / np.bincount(place))


def last_linear(sizes: np.ndarray, work: np.ndarray, overhead: float) -> float | None:
    """Return the last batch size whose work, like that of all before it, is within the overhead.

    None where no measured batch size is past it: the end of linear scaling was not reached.
    """
    over = work > (1 + overhead) * work[0]
    return float(sizes[int(over.argmax()) - 1]) if over.any() else None
