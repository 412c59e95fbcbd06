"""What a validation returns: claims with their verdicts, and critical batch sizes by every definition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sparsefit.fitting.results import FitResult
from sparsefit.fitting.results_records import Estimate

SCHEMA = "sparsefit.validation/1"

Judgement = Literal["holds", "fails", "cannot tell"]


@dataclass(frozen=True)
class Claim:
    """One claim about one group, judged.

    Attributes
    ----------
    name : str
        One of the keys of `sparsefit.fitting.claims.CATALOGUE`.
    statement : str
        The claim in words.
    verdict : {"holds", "fails", "cannot tell"}
    value, low, high : float or None
        The number that speaks to the claim and its interval; None is an open end, or not known.
    label : str
        What the number is, with its unit.
    test : str
        How the verdict follows from the data.
    reason : str
        One sentence with the numbers.
    group : mapping
        The group the claim is about; empty where it is about the whole table.
    reference : mapping or None
        The group that it is compared with.
    p_value : float or None
        Chance of data at least as far from the claim if the claim is true, where the test is one.
    details : tuple of mapping
        Rows behind the number, such as one a batch size; the keys are those of docs/file-formats.md.
    """

    name: str
    statement: str
    verdict: Judgement
    value: float | None
    low: float | None
    high: float | None
    label: str
    test: str
    reason: str
    group: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] | None = None
    p_value: float | None = None
    details: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return one entry of ``claims``."""
        return {
            **vars(self),
            "group": dict(self.group),
            "reference": None if self.reference is None else dict(self.reference),
            "details": [dict(row) for row in self.details],
        }


@dataclass(frozen=True)
class CriticalBatchSize:
    """The critical batch size of one group by one definition.

    Attributes
    ----------
    group : mapping
    name : str
        ``both_overheads_double``, ``overhead``, ``overhead_from_first`` or ``last_linear``.
    definition : str
        In words, with the numbers that it takes.
    formula : str
    estimate : Estimate
        In the unit of the batch sizes; no interval for ``last_linear``, which is one of the measured.
    """

    group: Mapping[str, Any]
    name: str
    definition: str
    formula: str
    estimate: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return one entry of ``critical_batch_sizes``."""
        return {**vars(self), "group": dict(self.group), "estimate": self.estimate.to_dict()}


@dataclass(frozen=True)
class ValidationResult:
    """Every claim on one table.

    Attributes
    ----------
    claims : tuple of Claim
        In the order of `sparsefit.fitting.claims.CATALOGUE`, within each in the order of the groups.
        A claim that the table cannot speak to is there once, as "cannot tell".
    critical_batch_sizes : tuple of CriticalBatchSize
    fit : FitResult
        The fit of the same table.
    confidence : float
        Of all intervals.
    decompositions : tuple of str
        Workloads of the decompositions that were given.
    """

    claims: tuple[Claim, ...]
    critical_batch_sizes: tuple[CriticalBatchSize, ...]
    fit: FitResult
    confidence: float = 0.95
    decompositions: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Claim, ...]:
        """The claims that fail."""
        return tuple(claim for claim in self.claims if claim.verdict == "fails")

    def counts(self) -> dict[str, int]:
        """Return how many claims hold, fail, and cannot be told."""
        found = Counter(claim.verdict for claim in self.claims)
        return {verdict: found[verdict] for verdict in get_args(Judgement)}

    def to_dict(self) -> dict[str, Any]:
        """Return the content of a ``sparsefit.validation/1`` file; unrounded, an open end is None."""
        from sparsefit import __version__

        return {
            "schema": SCHEMA,
            "version": __version__,
            "input": dict(self.fit.input),
            "decompositions": list(self.decompositions),
            "confidence": self.confidence,
            "warnings": list(self.fit.warnings),
            "counts": self.counts(),
            "claims": [claim.to_dict() for claim in self.claims],
            "critical_batch_sizes": [size.to_dict() for size in self.critical_batch_sizes],
        }
