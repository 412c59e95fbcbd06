"""Profile-likelihood intervals of one fit at many confidences: together they are the profile itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit.fitting.intervals import scan
from sparsefit.fitting.likelihood import Rows
from sparsefit.fitting.ratios import as_rows
from sparsefit.fitting.results import CurveFit

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCES = (0.5, 0.8, 0.95, 0.99)


def profile(fit: CurveFit) -> pd.DataFrame:
    """Return the interval of c1, c2 and c1/c2 at each confidence.

    Parameters
    ----------
    fit : CurveFit
        With a region, hence more than two rows that reached the goal.

    Returns
    -------
    DataFrame
        Columns ``parameter, confidence, low, high``; an open end is 0 or infinite. Confidence 0 is the
        maximum of the likelihood.
    """
    import pandas as pd

    n = len(CONFIDENCES)
    one = as_rows(fit)
    tiled = Rows(**{name: np.repeat(part, n, axis=0) for name, part in vars(one).items()})
    found = scan(tiled, np.array(CONFIDENCES))  # type: ignore[arg-type]
    ranges = {
        "c1": (found.c1_range, fit.log_c1),
        "c2": (found.level_range, fit.log_c2),
        "c1/c2": (found.theta_range, fit.log_c1 - fit.log_c2),
    }
    frames = []
    for name, (ends, best) in ranges.items():
        low, high = np.exp(np.vstack([[best, best], ends])).T
        frames.append(
            pd.DataFrame({"parameter": name, "confidence": (0.0, *CONFIDENCES), "low": low, "high": high})
        )
    return pd.concat(frames, ignore_index=True)
