"""The engine of many machines: workers are actors of a Ray cluster that runs already, one CPU each.

Ray is imported when a `RayCluster` is made; everything else works without it.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sparsefit.errors import InputError
from sparsefit.experiment.cluster import ClusterError, connect, describe, last_line
from sparsefit.experiment.engine import Failure, Record, Spec, call


class RayCluster:
    """Actors on the machines of a Ray cluster, each with its own copy of the function.

    An actor that dies, or whose machine does, is replaced and its spec comes back as a `Failure`. Where fewer
    CPUs are free than `jobs`, the actors that have one work, and the others wait for theirs. When the process
    that called `map` dies, Ray ends its actors.

    Parameters
    ----------
    jobs : int, optional
        How many actors; all CPUs of the cluster if left out.
    address : str, optional
        ``HOST:PORT`` of the cluster's head. If left out: ``RAY_ADDRESS``, else the cluster that this machine
        belongs to.

    Raises
    ------
    MissingDependencyError, InputError, ClusterError
        No Ray, no cluster, or no machines in it that can run trials.
    """

    def __init__(self, jobs: int | None = None, address: str | None = None) -> None:
        self._ray = connect(address)
        try:
            cpus = int(self._ray.cluster_resources().get("CPU", 0))
            if not cpus:
                raise InputError(
                    "the Ray cluster has no CPUs; `ray start --address` on other machines adds some"
                )
            self.jobs = jobs or cpus
            self.machines: Sequence[str] = describe(self._ray)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the cluster; it runs on."""
        self._ray.shutdown()

    def map(
        self, function: Callable[[Spec], Record], specs: Iterator[Spec | None]
    ) -> Generator[tuple[Spec, Record | Failure]]:
        """See `Engine.map`."""
        actors = Actors(self._ray, pickle.dumps(function), self.jobs)
        more = True
        try:
            while more or actors.busy:
                while more and actors.idle:
                    spec = next(specs, StopIteration)
                    if spec is StopIteration:
                        more = False
                    elif spec is not None:
                        actors.give(spec)
                    elif actors.busy:
                        break
                    else:
                        raise RuntimeError("the specs wait for a result, but nothing runs")
                if more or actors.busy:
                    yield from actors.results()
        finally:
            actors.kill()


class Served:
    """What an actor holds: one copy of the function, made from its pickle by the first call."""

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled

    @cached_property
    def function(self) -> Any:
        """The function."""
        return pickle.loads(self.pickled)

    def host(self) -> str:
        """Return where the actor runs; an answer means that it has started."""
        return socket.gethostname()

    def run(self, spec: Any) -> Any:
        """Call the function; it may be made of modules that this machine does not have."""
        return call(lambda spec: self.function(spec), spec)


@dataclass
class Worker:
    """An actor, where it runs, and what it is busy with."""

    actor: Any
    host: str = ""
    spec: Any = None


class Actors:
    """The actors of one `map`: starting, idle, or busy.

    An actor starts when a CPU of the cluster is free, which may be never; so none gets a spec before.
    """

    def __init__(self, ray: Any, pickled: bytes, jobs: int) -> None:
        self._ray = ray
        self._pickled = pickled
        self._served = ray.remote(num_cpus=1)(Served)
        self._most_lost = jobs
        self._lost = 0  # in a row, before they had started
        self.starting: dict[Future[Any], Worker] = {}
        self.idle: list[Worker] = []
        self.busy: dict[Future[Any], Worker] = {}
        for _ in range(jobs):
            self._start()

    def give(self, spec: Any) -> None:
        """Hand a spec to an idle actor."""
        worker = self.idle.pop()
        worker.spec = spec
        self.busy[worker.actor.run.remote(spec).future()] = worker

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Wait until something happens, and yield the results that are there: often none."""
        # Python's own wait: from one of Ray's no signal but Ctrl-C would come through.
        ended, _ = wait([*self.starting, *self.busy], return_when=FIRST_COMPLETED)
        for future in ended:
            if future in self.starting:
                self._started(future)
            else:
                worker = self.busy.pop(future)
                yield worker.spec, self._result(future, worker)

    def kill(self) -> None:
        """End all."""
        for worker in (*self.starting.values(), *self.idle, *self.busy.values()):
            self._ray.kill(worker.actor)

    def _start(self) -> None:
        worker = Worker(self._served.remote(self._pickled))
        self.starting[worker.actor.host.remote().future()] = worker

    def _started(self, future: Future[Any]) -> None:
        worker = self.starting.pop(future)
        try:
            worker.host = future.result()
        except self._ray.exceptions.RayError as error:
            self._lost += 1
            if self._lost > self._most_lost:
                raise ClusterError(f"the workers die before they start: {last_line(error)}") from error
            self._start()
        else:
            self._lost = 0
            self.idle.append(worker)

    def _result(self, future: Future[Any], worker: Worker) -> Any:
        try:
            result = future.result()
        except self._ray.exceptions.RayError as error:
            self._ray.kill(worker.actor)  # it may only be out of reach
            self._start()
            result = Failure(
                f"its process is gone ({type(error).__name__}): "
                "the usual cause is too little memory, or that its machine is down",
                crashed=True,
            )
        else:
            self.idle.append(worker)
        if isinstance(result, Failure):
            return Failure(f"{result.reason} (on {worker.host})", result.crashed)
        return result
