"""What a fit returns: numbers, reasons and nothing that computes a fit again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsefit.errors import InputError
from sparsefit.fitting.curves import log_steps
from sparsefit.fitting.results_records import (
    Estimate,
    LackOfFit,
    ModelFit,
    Prediction,
    Regime,
    Region,
    RunsTest,
)

if TYPE_CHECKING:
    from lmfit.minimizer import MinimizerResult
    from statsmodels.genmod.generalized_linear_model import GLMResults

__all__ = [
    "SCHEMA",
    "CurveFit",
    "Estimate",
    "FitResult",
    "LackOfFit",
    "ModelFit",
    "Prediction",
    "Ratio",
    "Regime",
    "Region",
    "RunsTest",
    "SharedShape",
    "Verdict",
]

Verdict = Literal["consistent", "rejected", "undetermined"]
SCHEMA = "sparsefit.fit/1"


@dataclass(frozen=True)
class CurveFit:
    """Fit of K* = c1/B + c2 to one group of rows.

    Attributes
    ----------
    n_points : int
        Rows in the likelihood.
    n_censored : int
        Those of them that only say K* > T.
    batch_size_range : tuple of float
    c1, c2, critical_batch_size : Estimate
        c1 in batch-size units times steps, c2 in steps, c1/c2 in batch-size units.
    log_c1, log_c2 : float
        Maximum-likelihood coordinates, also where the data do not determine them. They draw the curve.
    log_correlation : float or None
        Correlation of log c1 and log c2; None where one of them is not determined.
    rms_log_residual : float
        Standard deviation of log K about the curve, n - 2 in the denominator; NaN with two rows.
    confidence : float
    verdict : {"consistent", "rejected", "undetermined"}
    verdict_reason : str
        One sentence.
    regimes : mapping of str to Regime
        ``linear_scaling``, ``diminishing_returns``, ``maximal_data_parallelism``.
    models : tuple of ModelFit
        c1/B + c2 and its alternatives, best AICc first.
    runs_test : RunsTest
    lack_of_fit : LackOfFit or None
        None without replicates.
    batch_size, lower, upper : ndarray, shape (n_points,)
        The rows: the true step lies in (lower, upper]; equal if exact, ``upper`` infinite for K* > T.
    residuals : ndarray, shape (n_points,)
        log K less the curve; the expected value given the interval for rows that are intervals or bounds.
    region : Region or None
        None with two rows, which leave nothing to tell noise from.
    group : mapping
        What the rows have in common, such as ``{"workload": ..., "sparsity": 0.9}``.
    warnings : tuple of str
    """

    n_points: int
    n_censored: int
    batch_size_range: tuple[float, float]
    c1: Estimate
    c2: Estimate
    critical_batch_size: Estimate
    log_c1: float
    log_c2: float
    log_correlation: float | None
    rms_log_residual: float
    confidence: float
    verdict: Verdict
    verdict_reason: str
    regimes: Mapping[str, Regime]
    models: tuple[ModelFit, ...]
    runs_test: RunsTest
    lack_of_fit: LackOfFit | None
    batch_size: NDArray[np.float64] = field(repr=False, compare=False)
    lower: NDArray[np.float64] = field(repr=False, compare=False)
    upper: NDArray[np.float64] = field(repr=False, compare=False)
    residuals: NDArray[np.float64] = field(repr=False, compare=False)
    region: Region | None = field(repr=False, compare=False)
    group: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def predict(self, batch_size: ArrayLike) -> Prediction:
        """Return the curve and its profile interval at given batch sizes (Equation 6).

        Parameters
        ----------
        batch_size : array_like, shape (M,)
            In the units of the table; above 0, ∞ is the plateau.

        Raises
        ------
        InputError
            A batch size is not above 0.

        Notes
        -----
        The interval is the range of c1/B + c2 over the joint region of c1 and c2, so it also is there where
        the data do not determine them one by one.
        """
        size = np.atleast_1d(np.asarray(batch_size, dtype=float))
        if not (size > 0).all():
            raise InputError(f"batch sizes must be above 0, got {size[~(size > 0)][0]:g}")
        steps = np.exp(log_steps(np.log(size), self.log_c1, self.log_c2))
        if self.region is None:
            return Prediction(size, steps, np.full_like(size, np.nan), np.full_like(size, np.nan))
        low, high = self.region.steps(size)
        return Prediction(size, steps, np.minimum(low, steps), np.maximum(high, steps))

    @cached_property
    def lmfit(self) -> MinimizerResult:
        """The same fit by lmfit: ``log_c1``, ``log_c2``, then ``c1``, ``c2``, ``critical_batch_size``."""
        from sparsefit.fitting.crosscheck import lmfit_result

        return lmfit_result(self)

    @cached_property
    def glm(self) -> GLMResults:
        """The same curve as a gamma regression by statsmodels, for its influence measures."""
        from sparsefit.fitting.crosscheck import glm_result

        return glm_result(self)

    def to_dict(self) -> dict[str, Any]:
        """Return one entry of ``fits`` in the schema ``sparsefit.fit/1``; unrounded, an open end is None."""
        lack = self.lack_of_fit
        return {
            "group": dict(self.group),
            "n_points": self.n_points,
            "n_censored": self.n_censored,
            "batch_size_range": list(self.batch_size_range),
            "c1": self.c1.to_dict(),
            "c2": self.c2.to_dict(),
            "critical_batch_size": self.critical_batch_size.to_dict(),
            "maximum_likelihood": {"log_c1": self.log_c1, "log_c2": self.log_c2},
            "log_correlation": self.log_correlation,
            "region": None
            if self.region is None or self.log_correlation is not None
            else self.region.to_dict(),
            "rms_log_residual": None if np.isnan(self.rms_log_residual) else self.rms_log_residual,
            "verdict": self.verdict,
            "verdict_reason": self.verdict_reason,
            "regimes": {name: regime.to_dict() for name, regime in self.regimes.items()},
            "models": [model.to_dict() for model in self.models],
            "runs_test": self.runs_test.to_dict(),
            "lack_of_fit": None if lack is None else lack.to_dict(),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class SharedShape:
    """Joint test that several curves share one c1/c2, so that each is the other times one factor.

    Attributes
    ----------
    f, p_value : float or None
        Likelihood ratio on the scale of F, and its chance if c1/c2 is shared; None if it cannot be tested.
    df_shared : int
    df_error : float or None
        Degrees of freedom of F.
    delta_aicc : float or None
        AICc with own c1/c2 less AICc with a shared one; negative speaks against sharing.
    critical_batch_size : float or None
        The shared c1/c2.
    verdict : {"consistent", "rejected", "undetermined"}
        On a shared c1/c2.
    """

    f: float | None
    p_value: float | None
    df_shared: int
    df_error: float | None
    delta_aicc: float | None
    critical_batch_size: float | None
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Ratio:
    """What one group has over its dense twin.

    Attributes
    ----------
    group, reference : mapping
        The two groups, which differ in ``sparsity`` only.
    c1, c2, critical_batch_size : Estimate
        Ratios, group over reference.
    shared : SharedShape
        Whether the two curves differ by one factor.
    """

    group: Mapping[str, Any]
    reference: Mapping[str, Any]
    c1: Estimate
    c2: Estimate
    critical_batch_size: Estimate
    shared: SharedShape

    def to_dict(self) -> dict[str, Any]:
        """Return one entry of ``ratios`` in the schema ``sparsefit.fit/1``."""
        return {
            "group": dict(self.group),
            "reference": dict(self.reference),
            "c1": self.c1.to_dict(),
            "c2": self.c2.to_dict(),
            "critical_batch_size": self.critical_batch_size.to_dict(),
            "shared_critical_batch_size": self.shared.to_dict(),
        }


@dataclass(frozen=True)
class FitResult:
    """All groups of one table.

    Attributes
    ----------
    fits : tuple of CurveFit
    ratios : tuple of Ratio
        Empty where there is no dense group to compare with.
    confidence : float
    input : mapping
        ``path``, ``sha256``, ``rows`` and how the table was read.
    warnings : tuple of str
        Those of the table; each fit has its own.
    """

    fits: tuple[CurveFit, ...]
    ratios: tuple[Ratio, ...] = ()
    confidence: float = 0.95
    input: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a ``sparsefit.fit/1`` file."""
        from sparsefit import __version__

        return {
            "schema": SCHEMA,
            "version": __version__,
            "input": dict(self.input),
            "confidence": self.confidence,
            "warnings": list(self.warnings),
            "fits": [fit.to_dict() for fit in self.fits],
            "ratios": [ratio.to_dict() for ratio in self.ratios],
        }
