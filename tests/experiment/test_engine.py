import multiprocessing
import os
import signal

import pytest
import torch

from sparsefit.experiment.engine import Failure, InProcess, LocalProcesses
from sparsefit.experiment.records import Study, TrialSpec

SPECS = [TrialSpec(Study(0.5, 16), trial, 2000) for trial in range(12)]

LOCAL = {"here": InProcess(), "1": LocalProcesses(1), "2": LocalProcesses(2), "3": LocalProcesses(3)}


@pytest.fixture
def engine(request):
    """One engine of several: the seam makes the same promises for all."""
    return request.getfixturevalue("on_ray")(2) if request.param == "ray" else LOCAL[request.param]


@pytest.mark.parametrize("engine", ["here", "1", "3", "ray"], indirect=True)
def test_every_spec_comes_back_once_with_its_result(engine, artificial):
    found = dict(engine.map(artificial.Trial(), iter(SPECS)))
    assert set(found) == set(SPECS)
    for spec, result in found.items():
        assert result.end == artificial.true_end(spec.study, spec.trial)


@pytest.mark.parametrize("engine", ["here", "2", "ray"], indirect=True)
def test_specs_are_asked_for_only_after_the_results_so_far_were_seen(engine, artificial):
    seen = 0

    def specs():
        for number, spec in enumerate(SPECS):
            while number > seen + 1:
                yield None
            yield spec

    for _ in engine.map(artificial.Trial(), specs()):
        seen += 1
    assert seen == len(SPECS)


@pytest.mark.parametrize("engine", ["here", "1", "ray"], indirect=True)
def test_an_error_comes_back_as_a_failure_that_names_its_place(engine, artificial):
    ((_, failure),) = engine.map(artificial.broken, iter(SPECS[:1]))
    assert isinstance(failure, Failure)
    assert not failure.crashed
    assert "ValueError: shapes do not match" in failure.reason
    assert "artificial.py, line" in failure.reason


@pytest.mark.parametrize("engine", ["here", "2", "ray"], indirect=True)
def test_specs_that_wait_for_nothing_are_an_error(engine, artificial):
    with pytest.raises(RuntimeError, match="wait for a result, but nothing runs"):
        list(engine.map(artificial.Trial(), iter([None])))


@pytest.mark.parametrize(
    ("engine", "said"), [("2", "SIGKILL"), ("ray", "its process is gone")], indirect=["engine"]
)
def test_a_killed_worker_is_replaced_and_its_spec_comes_back_as_a_crash(engine, said, artificial, tmp_path):
    results = dict(engine.map(artificial.Trial(crash_file=tmp_path / "crashes"), iter(SPECS)))
    crashed = [spec.trial for spec, result in results.items() if isinstance(result, Failure)]
    assert crashed == [1]
    assert results[SPECS[1]].crashed
    assert said in results[SPECS[1]].reason
    assert len(results) == len(SPECS)


def test_closing_the_results_ends_the_workers(artificial):
    results = LocalProcesses(2).map(artificial.Trial(5), iter(SPECS))
    next(results)
    children = multiprocessing.active_children()
    results.close()
    assert children
    assert not any(child.is_alive() for child in children)


def test_the_parent_alone_answers_to_an_interrupt(artificial):
    results = LocalProcesses(1).map(artificial.Trial(200), iter(SPECS[:2]))
    next(results)
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGINT)
    assert not isinstance(next(results)[1], Failure)
    results.close()


def allocate(spec):
    return torch.empty(10**15)


def test_memory_that_torch_does_not_get_is_no_error_of_the_trial():
    ((_, failure),) = InProcess().map(allocate, iter(SPECS[:1]))
    assert failure == Failure("out of memory", crashed=True)
