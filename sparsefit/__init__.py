"""Steps-to-result K* = c1/B + c2: fit, explain, validate and collect.

The package follows the flow of the data: ``conv`` (sparse layers) → ``experiment`` (trials, studies, sweeps)
→ ``fitting`` (curves, intervals, verdicts) → ``report`` (tables, figures, pages). Imports only point left.
"""

__version__ = "0.1.0.dev0"
