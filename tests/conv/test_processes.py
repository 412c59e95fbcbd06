"""Layers across processes: shared memory, spawned workers, distributed data parallel."""

from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sparsefit.conv import sparsify

WORLD = 2

WAIT = timedelta(minutes=2)
"""torch's own is half an hour, and cannot be interrupted."""


def make_model():
    """Return a model with two sparse layers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    masks = {"0": torch.rand_like(model[0].weight) < 0.4, "3": torch.rand_like(model[3].weight) < 0.4}
    return sparsify(model, masks, backend="sparse")


def batches():
    """Return a batch for each process."""
    return torch.randn(WORLD, 4, 2, 5, 5, generator=torch.Generator().manual_seed(1))


def work(rank, store, shared, results):
    """Take one gradient under DDP; the second process also writes into the shared layer."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD, timeout=WAIT)
    model = DistributedDataParallel(make_model())
    model(batches()[rank]).square().mean().backward()
    results[rank].copy_(torch.cat([p.grad.flatten() for p in model.parameters()]))
    if rank == 1:
        with torch.no_grad():
            shared.values.add_(1.0)
    dist.barrier()  # nobody leaves while another still talks
    # DDP must not be the last to hold the process group: its end would wait for the group's threads with
    # the interpreter locked, and they for the interpreter, once in about a hundred times. Dense layers of
    # torch hang alike.
    del model
    dist.destroy_process_group()


def test_ddp_averages_the_gradients_and_memory_is_shared(tmp_path):
    model = make_model()
    expected = []
    for batch in batches():
        model.zero_grad()
        model(batch).square().mean().backward()
        expected.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    shared = make_model()[0].share_memory()
    before = shared.values.detach().clone()
    results = torch.zeros(WORLD, expected[0].numel()).share_memory_()
    mp.spawn(work, args=(tmp_path / "store", shared, results), nprocs=WORLD)
    for result in results:
        torch.testing.assert_close(result, torch.stack(expected).mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(shared.values, before + 1.0)
