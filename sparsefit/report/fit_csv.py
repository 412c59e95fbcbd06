"""A fit as the text of a CSV file; docs/file-formats.md describes it."""

from __future__ import annotations

import csv
import io

from sparsefit.fitting.results import FitResult

ESTIMATES = ("c1", "c2", "critical_batch_size")


def as_csv(result: FitResult) -> str:
    """Return a row a group: its names, the estimates with their intervals, the verdict."""
    names = list(dict.fromkeys(name for fit in result.fits for name in fit.group))
    header = [*names, "n_points", "n_censored", "batch_size_low", "batch_size_high"]
    for estimate in ESTIMATES:
        header += [estimate, f"{estimate}_low", f"{estimate}_high"]
    header += ["log_correlation", "rms_log_residual", "confidence", "verdict", "verdict_reason"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for fit in result.fits:
        entry = fit.to_dict()
        row = [*(fit.group.get(name) for name in names), fit.n_points, fit.n_censored, *fit.batch_size_range]
        for estimate in ESTIMATES:
            row += entry[estimate].values()
        row += [entry["log_correlation"], entry["rms_log_residual"], fit.confidence]
        writer.writerow([*row, fit.verdict, fit.verdict_reason])
    return text.getvalue()
