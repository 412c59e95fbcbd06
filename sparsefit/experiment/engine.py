"""Engines run trials somewhere and hand back what they return; a sweep knows no more of them than `Engine`.

`LocalProcesses` is the one that sweeps use unless told otherwise, `engine_ray.RayCluster` the one of many
machines; `InProcess` runs the same function here, one trial after another. The function is picklable and free
of global state, and only the process that calls `map` writes to the store.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from sparsefit.errors import SparsefitError

Spec = TypeVar("Spec")
Record = TypeVar("Record")


@dataclass(frozen=True)
class Failure:
    """What came back instead of a record.

    Attributes
    ----------
    reason : str
        In words.
    crashed : bool
        True when the worker died (killed, out of memory): another try may succeed. False when the function
        raised: it would raise again.
    """

    reason: str
    crashed: bool


class Engine(Protocol):
    """Runs a function on specs, several at a time.

    Attributes
    ----------
    jobs : int
        How many at a time.
    machines : sequence of str
        What the machines are if they are others than this one, for the record of provenance.
    """

    jobs: int
    machines: Sequence[str]

    def map(
        self, function: Callable[[Spec], Record], specs: Iterator[Spec | None]
    ) -> Generator[tuple[Spec, Record | Failure]]:
        """Yield every spec with its record, in the order in which they end.

        Parameters
        ----------
        function : callable
            Picklable; each worker gets one copy of it and calls it many times.
        specs : iterator
            Asked for the next spec only when a worker is free and all results so far were yielded, so that it
            can depend on them. ``None`` means "nothing until another result is there".

        Notes
        -----
        Closing the generator stops what runs; its results are lost.
        """
        ...


class InProcess:
    """Runs everything in this process, one after another."""

    jobs = 1
    machines: Sequence[str] = ()

    def map(
        self, function: Callable[[Spec], Record], specs: Iterator[Spec | None]
    ) -> Generator[tuple[Spec, Record | Failure]]:
        """See `Engine.map`."""
        for spec in specs:
            if spec is None:
                raise RuntimeError("the specs wait for a result, but nothing runs")
            yield spec, call(function, spec)


def call(function: Callable[[Spec], Record], spec: Spec) -> Record | Failure:
    """Call the function; what it raises becomes a `Failure`."""
    try:
        return function(spec)
    except SparsefitError as error:
        return Failure(str(error), crashed=False)
    except MemoryError:
        return Failure("out of memory", crashed=True)
    except Exception as error:
        if "can't allocate memory" in str(error):  # torch has no MemoryError of its own
            return Failure("out of memory", crashed=True)
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Failure(
            f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})", crashed=False
        )


@dataclass
class Worker:
    """A process, its end of the pipe, and what it is busy with."""

    process: BaseProcess
    connection: Connection
    spec: Any = None


class LocalProcesses:
    """Processes on this machine, started afresh (spawn), each with its own copy of the function.

    A worker that dies is replaced and its spec comes back as a `Failure`. When the process that called `map`
    dies, even by SIGKILL, its workers end too.

    Parameters
    ----------
    jobs : int
        How many processes.
    """

    machines: Sequence[str] = ()

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._context = multiprocessing.get_context("spawn")

    def map(
        self, function: Callable[[Spec], Record], specs: Iterator[Spec | None]
    ) -> Generator[tuple[Spec, Record | Failure]]:
        """See `Engine.map`."""
        pickled = pickle.dumps(function)
        idle: list[Worker] = []
        busy: list[Worker] = []
        more = True
        try:
            while more or busy:
                while more and len(busy) < self.jobs:
                    spec = next(specs, StopIteration)
                    if spec is StopIteration:
                        more = False
                        break
                    if spec is None:
                        if not busy:
                            raise RuntimeError("the specs wait for a result, but nothing runs")
                        break
                    worker = idle.pop() if idle else self._start(pickled)
                    worker.spec = spec
                    busy.append(worker)
                    # A worker that died while idle or starting shows when its answer is awaited.
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        worker.connection.send(spec)
                if not busy:
                    break
                ready = wait([worker.connection for worker in busy])
                for worker in [worker for worker in busy if worker.connection in ready]:
                    busy.remove(worker)
                    try:
                        result = worker.connection.recv()
                        idle.append(worker)
                    except (EOFError, OSError):  # OSError: in the middle of a message
                        result = Failure(self._bury(worker), crashed=True)
                    yield worker.spec, result
        finally:
            for worker in idle + busy:
                self._stop(worker)

    def _start(self, pickled: bytes) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, pickled), daemon=True)
        # Ctrl-C reaches the whole process group; the parent decides, so workers inherit a mask that blocks
        # it. (The tracker, started with the first process, would lift the mask again.)
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        return Worker(process, ours)

    def _bury(self, worker: Worker) -> str:
        """Wait for a worker whose pipe is closed and say how it ended."""
        worker.process.join()
        worker.connection.close()
        code = worker.process.exitcode or 0
        if code == -signal.SIGKILL:
            return "its process was killed (SIGKILL): the usual cause is too little memory"
        if code < 0:
            return f"its process died of {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"

    def _stop(self, worker: Worker) -> None:
        worker.process.terminate()
        worker.process.join()
        worker.connection.close()


def serve(connection: Connection, pickled: bytes) -> None:
    """Answer specs until the pipe closes: the main function of a worker process."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    function = pickle.loads(pickled)
    while True:
        # The parent may close its end, or be gone, at any moment.
        try:
            spec = connection.recv()
            result = call(function, spec)
            connection.send(result)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def end_with_parent() -> None:
    """End this process when its parent does, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
