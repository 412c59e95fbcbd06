"""What the engine of a Ray cluster does beyond the promises of every engine (`test_engine.py`)."""

import os
import signal
import socket
import sys
import time

import pytest

from sparsefit.errors import InputError, MissingDependencyError
from sparsefit.experiment.engine import Failure
from sparsefit.experiment.engine_ray import RayCluster
from sparsefit.experiment.records import Study, TrialSpec

SPECS = [TrialSpec(Study(0.5, 16), trial, 2000) for trial in range(6)]


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sparsefit\[ray\]'"):
        RayCluster(1)


def test_an_address_where_nothing_listens_is_refused_at_once():
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(InputError, match=f"no Ray cluster answers at {address}"):
            RayCluster(1, address)


@pytest.mark.parametrize("address", ["somewhere", "ray://127.0.0.1:10001", "127.0.0.1:99999", "host:"])
def test_what_is_no_address_is_refused(address):
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    with pytest.raises(InputError, match="Ray cluster"):
        RayCluster(1, address)


def test_every_machine_is_described_and_all_its_cpus_are_used(on_ray):
    engine = on_ray()
    assert engine.jobs == 2
    assert len(engine.machines) == 2
    assert all(text.startswith(f"{socket.gethostname()}: 1 of ") for text in engine.machines)


def test_a_machine_with_another_sparsefit_is_refused(ray_address, monkeypatch):
    monkeypatch.setattr("sparsefit.__version__", "0.0")
    with pytest.raises(Exception, match=r"this one 0\.0: install the same on all"):
        RayCluster(1, ray_address)


def test_more_jobs_than_cpus_do_not_keep_the_others_waiting(on_ray, artificial):
    assert len(dict(on_ray(5).map(artificial.Trial(), iter(SPECS)))) == len(SPECS)


def test_a_module_that_a_machine_does_not_have_is_named_with_the_machine(on_ray, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def function(spec):\n    return spec\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here

    ((_, failure),) = on_ray(1).map(only_here.function, iter(SPECS[:1]))
    assert not failure.crashed
    assert "No module named 'only_here'" in failure.reason
    assert failure.reason.endswith(f"(on {socket.gethostname()})")


def test_closing_the_results_ends_the_actors(on_ray, artificial):
    results = on_ray(2).map(artificial.process, iter(SPECS))
    pids = {pid for _, pid in (next(results), next(results))}
    assert all(map(exists, pids))
    results.close()
    deadline = time.monotonic() + 20
    while any(map(exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(exists, pids))


def test_an_actor_that_is_killed_while_idle_is_replaced(on_ray, artificial):
    results = on_ray(1).map(artificial.process, iter(SPECS))
    _, pid = next(results)
    os.kill(pid, signal.SIGKILL)
    found = [result for _, result in results]
    assert len(found) == len(SPECS) - 1
    assert sum(isinstance(result, Failure) for result in found) <= 1
    assert pid not in found
