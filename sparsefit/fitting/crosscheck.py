"""The same fit by other code, as a check: lmfit (``conf_interval``) and a GLM of statsmodels (influence)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.errors import InputError
from sparsefit.fitting.curves import Array, log_steps

if TYPE_CHECKING:
    from lmfit import Parameters
    from lmfit.minimizer import MinimizerResult
    from statsmodels.genmod.generalized_linear_model import GLMResults

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

    log_size, log_k = known_rows(fit, "lmfit")

    def residual(parameters: Parameters) -> Array:
        values = parameters.valuesdict()
        return log_k - log_steps(log_size, values["log_c1"], values["log_c2"])

    parameters = Parameters()
    parameters.add("log_c1", value=fit.log_c1)
    parameters.add("log_c2", value=fit.log_c2)
    for name, expression in DERIVED.items():
        parameters.add(name, expr=expression)
    return minimize(residual, parameters)


def glm_result(fit: CurveFit) -> GLMResults:
    """Return a gamma regression of K with identity link on 1/B: its mean is c1·(1/B) + c2, linear in both.

    Parameters
    ----------
    fit : CurveFit

    Returns
    -------
    GLMResults
        Parameters ``c1`` and ``c2``; ``get_influence().cooks_distance`` says which row the fit hangs on.

    Raises
    ------
    InputError
        Fewer than two rows say where the curve is.

    Notes
    -----
    The gamma family has a constant coefficient of variation, as log K has a constant spread; its values
    differ from those of the fit by terms of the order of the squared spread. The rows used are lmfit's.
    """
    import pandas as pd
    from statsmodels.genmod.families import Gamma
    from statsmodels.genmod.families.links import Identity
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools.sm_exceptions import DomainWarning

    log_size, log_k = known_rows(fit, "the GLM")
    design = pd.DataFrame({"c1": np.exp(-log_size), "c2": np.ones_like(log_size)})
    start = np.exp([fit.log_c1, fit.log_c2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)  # c1, c2 > 0 keep the mean positive
        return GLM(np.exp(log_k), design, family=Gamma(Identity())).fit(start_params=start)


def known_rows(fit: CurveFit, who: str) -> tuple[Array, Array]:
    """Return log B and log K of the rows that say where K is; an interval stands for its geometric middle."""
    known = (fit.lower > 0) & np.isfinite(fit.upper)
    if known.sum() < 2:
        raise InputError(
            f"{who} needs two rows that reached the goal, got {int(known.sum())}; the limits of the fit "
            "itself use the rows that did not"
        )
    return np.log(fit.batch_size[known]), (np.log(fit.lower[known]) + np.log(fit.upper[known])) / 2
