"""What tests run on: instruction sets, number types, threads. Only fixtures that need torch import it."""

import sys
import zlib
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def repeatable(request):
    """Let a test draw the same numbers from torch in every run, whichever ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(params=["portable", "avx2", "avx512"])
def isa(request):
    """Name of an instruction set that this machine can run."""
    from sparsefit.conv.kernels import load_core

    if request.param not in load_core().isas():
        pytest.skip(f"this CPU or this build has no {request.param}")
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """A number type of the layers: float32 has kernels, float64 the reference."""
    import torch

    return getattr(torch, request.param)


@pytest.fixture
def threads():
    """Return the function that sets torch's number of threads, which is put back afterwards."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def backend():
    """Return the function that sets the backend of all layers; it and the choices are put back afterwards."""
    from sparsefit.conv import choices, get_backend, restore_choices, set_backend

    before, made = get_backend(), choices()
    yield set_backend
    set_backend(before)
    restore_choices(made)


@pytest.fixture(scope="session")
def ray_address():
    """Address of a Ray cluster of two nodes on this machine, each of one CPU."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    from ray.cluster_utils import Cluster

    root = Path(__file__).parents[1]
    with pytest.MonkeyPatch.context() as patch:
        # The machines of a cluster have their own paths; here these are what the tests need.
        patch.setenv("PYTHONPATH", f"{root}:{root / 'tests' / 'experiment'}")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def on_ray(ray_address):
    """Return the function that makes an engine of so many jobs on the cluster; it is closed at the end."""
    from sparsefit.experiment.engine_ray import RayCluster

    made = []

    def make(jobs=None):
        made.append(RayCluster(jobs, ray_address))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
