"""Processes among which the fits and the figures of a report are divided."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def start_processes(count: int) -> ProcessPoolExecutor:
    """Return so many processes, forked from one that has imported the report and done nothing else.

    A fork of this process could copy a lock that a thread of pyarrow holds, and wait for it forever.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sparsefit.report.document"])
    return ProcessPoolExecutor(count, mp_context=context)
