"""Steps-to-result K* = c1/B + c2: fit, explain, validate and collect.

The package follows the flow of the data: ``conv`` (sparse layers) → ``experiment`` (trials, studies, sweeps)
→ ``fitting`` (curves, intervals, verdicts) → ``report`` (tables, figures, pages). Imports only point left.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsefit.fitting.fit_table import fit
    from sparsefit.fitting.results import FitResult

__all__ = ["FitResult", "__version__", "fit"]

__version__ = "0.1.0.dev0"

LAZY = {"fit": "sparsefit.fitting.fit_table", "FitResult": "sparsefit.fitting.results"}


def __getattr__(name: str) -> Any:
    """Import the fit when it is first used, so that every command starts fast (PEP 562)."""
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(LAZY[name]), name)


def __dir__() -> list[str]:
    """Name what is imported late, too."""
    return sorted({*globals(), *LAZY})
