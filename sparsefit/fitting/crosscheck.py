"""The same fit by lmfit, as a check by other code and for lmfit's own tools (``conf_interval``, reports)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit.errors import InputError
from sparsefit.fitting.curves import Array, log_steps

if TYPE_CHECKING:
    from lmfit import Parameters
    from lmfit.minimizer import MinimizerResult

    from sparsefit.fitting.results import CurveFit

DERIVED = {"c1": "exp(log_c1)", "c2": "exp(log_c2)", "critical_batch_size": "exp(log_c1 - log_c2)"}


def lmfit_result(fit: CurveFit) -> MinimizerResult:
    """Return lmfit's least squares of log K on Equation 6, started at the maximum-likelihood values.

    Parameters
    ----------
    fit : CurveFit

    Returns
    -------
    MinimizerResult
        Free are ``log_c1`` and ``log_c2``; ``c1``, ``c2`` and ``critical_batch_size`` follow from them.

    Raises
    ------
    InputError
        Fewer than two rows say where the curve is.

    Notes
    -----
    lmfit knows no censoring. An interval row stands for its geometric middle, and rows that only say K* > T,
    or K* <= T, are left out. So the values equal those of the fit only where every row is exact.
    """
    from lmfit import Parameters, minimize

    known = (fit.lower > 0) & np.isfinite(fit.upper)
    if known.sum() < 2:
        raise InputError(
            f"lmfit needs two rows that reached the goal, got {int(known.sum())}; the limits of the fit "
            "itself use the rows that did not"
        )
    log_size = np.log(fit.batch_size[known])
    log_k = (np.log(fit.lower[known]) + np.log(fit.upper[known])) / 2

    def residual(parameters: Parameters) -> Array:
        values = parameters.valuesdict()
        return log_k - log_steps(log_size, values["log_c1"], values["log_c2"])

    parameters = Parameters()
    parameters.add("log_c1", value=fit.log_c1)
    parameters.add("log_c2", value=fit.log_c2)
    for name, expression in DERIVED.items():
        parameters.add(name, expr=expression)
    return minimize(residual, parameters)
