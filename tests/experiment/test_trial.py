import multiprocessing
import random

import numpy as np
import pytest
import torch
from torch import nn

from sparsefit.errors import InputError
from sparsefit.experiment import mask_file, model, prune
from sparsefit.experiment.data import ExampleOrder
from sparsefit.experiment.engine import InProcess, LocalProcesses
from sparsefit.experiment.goal import GoalCheck
from sparsefit.experiment.network import TorchNetwork
from sparsefit.experiment.optimizer import Optimizer
from sparsefit.experiment.records import Study, TrialSpec
from sparsefit.experiment.runner import TrialRunner
from sparsefit.experiment.trial import Budget, train


@pytest.fixture(scope="module")
def runners():
    """Runners that share their data; by backend and options."""
    made = {}
    return lambda key, make: made.setdefault(key, make())


@pytest.fixture
def runner(runners, define):
    def get(**options):
        key = tuple(sorted(options.items()))
        return runners(key, lambda: TrialRunner(define(**options)))

    return get


def spec(batch_size=32, sparsity=0.9, trial=0, limit=2000):
    return TrialSpec(Study(sparsity, batch_size), trial, limit)


class DoubleCheck(GoalCheck):
    """Asks the full evaluation too, at every check, and counts."""

    compared = 0

    def met(self, forward):
        answer = super().met(forward)
        assert GoalCheck.full(self, forward)[0] == answer
        DoubleCheck.compared += 1
        return answer


def test_early_answers_equal_full_evaluations_at_every_check_of_200_real_trials(runner, monkeypatch):
    monkeypatch.setattr("sparsefit.experiment.runner.GoalCheck", DoubleCheck)
    rng = random.Random(0)
    DoubleCheck.compared = 0
    ends = []
    for _ in range(200):
        chosen = spec(rng.choice([16, 64]), rng.choice([0.0, 0.9]), rng.randrange(6), rng.choice([30, 80]))
        backend = rng.choice(["dense", "sparse", "sparse", "sparse"])
        ends.append(runner(backend=backend)(chosen).end)
    assert DoubleCheck.compared > 2000
    assert len({end.status for end in ends}) > 1


@pytest.mark.parametrize("backend", ["sparse", "dense"])
def test_a_trial_repeats_itself_exactly(runner, define, backend):
    first = runner(backend=backend)(spec())
    again = TrialRunner(define(backend=backend))(spec())
    assert first.end == again.end
    assert (first.checks, first.evaluated, first.samples) == (again.checks, again.evaluated, again.samples)


def test_a_trial_does_not_depend_on_what_ran_before_or_on_the_process(define):
    runner = TrialRunner(define())
    alone = {chosen: TrialRunner(define())(chosen).end for chosen in (spec(8), spec(32, 0.0, 3))}
    mixed = [spec(32, 0.0, 3), spec(16, 0.9, 1, 40), spec(8)]
    here = {chosen: run.end for chosen, run in InProcess().map(runner, iter(mixed))}
    there = {chosen: run.end for chosen, run in LocalProcesses(2).map(runner, iter(mixed))}
    assert here == there
    assert alone == {chosen: here[chosen] for chosen in alone}


def test_a_trial_stopped_at_a_limit_is_the_beginning_of_the_longer_one(runner):
    long = runner(curves=True)(spec(limit=200))
    short = runner(curves=True)(spec(limit=40))
    assert short.end == ("capped", 40)
    assert np.array_equal(short.curve, long.curve[: len(short.curve)])
    interval = runner().definition.workload.eval_interval
    assert list(short.curve[:, 0]) == list(range(interval, 41, interval))


def test_the_goal_is_still_checked_at_the_limit(runner):
    reached = runner()(spec())
    assert reached.end.status == "reached"
    assert runner()(spec(limit=reached.end.step)).end == reached.end
    before = reached.end.step - runner().definition.workload.eval_interval
    assert runner()(spec(limit=before)).end == ("capped", before)


def test_curves_change_no_step_and_their_last_error_meets_the_goal(runner):
    with_curves, without = runner(curves=True)(spec()), runner()(spec())
    assert with_curves.end == without.end
    errors = with_curves.curve[:, 2] * 150
    assert errors[-1] <= runner().definition.workload.goal_count(150) < errors[:-1].min()
    assert without.evaluated < with_curves.evaluated
    assert without.floor <= without.evaluated


def problem(model, learning_rate=0.1):
    """Random images with random labels for a model of the test."""
    torch.manual_seed(0)
    images, labels = torch.randn(300, 1, 4, 4), torch.randint(0, 3, (300,))
    network = TorchNetwork(model)
    optimizer = Optimizer(network.parameters(), "sgd", "constant", {"learning_rate": learning_rate})
    check = GoalCheck(images[:50], labels[:50], 0)
    return network, optimizer, images, labels, check


def linear():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize(("limit", "status"), [(24, "not_reached"), (12, "capped")])
def test_a_trial_ends_at_the_last_step_or_at_its_limit(limit, status):
    network, optimizer, images, labels, check = problem(linear())
    batches = ExampleOrder(300).batches(7)
    run = train(network, optimizer, images, labels, batches, check, Budget(4, 24, limit))
    assert run.end == (status, limit)
    assert (run.checks, run.samples) == (limit // 4, 7 * limit)


def test_the_goal_is_checked_at_the_last_step_whatever_the_interval():
    network, optimizer, images, labels, _ = problem(linear())
    check = GoalCheck(images[:50], labels[:50], 50)  # met at the first check
    for interval, step in ((16, 16), (10, 10), (26, 25)):
        run = train(
            network, optimizer, images, labels, ExampleOrder(300).batches(7), check, Budget(interval, 25, 25)
        )
        assert run.end == ("reached", step)


def test_a_loss_that_is_not_finite_ends_the_trial_at_once():
    network, optimizer, images, labels, check = problem(linear(), learning_rate=1e38)
    run = train(network, optimizer, images, labels, ExampleOrder(300).batches(7), check, Budget(4, 24, 24))
    assert run.end.status == "diverged"
    assert run.end.step <= 4


def test_a_model_that_is_not_finite_before_training_is_an_error_not_a_divergence():
    model = linear()
    model[1].weight.data.fill_(float("nan"))
    network, optimizer, images, labels, check = problem(model)
    with pytest.raises(InputError, match="loss of the untrained model is nan"):
        train(network, optimizer, images, labels, ExampleOrder(300).batches(7), check, Budget(4, 24, 24))


def test_micro_batches_give_the_steps_of_one_batch():
    weights = []
    for micro_batch in (256, 64, 10):
        model = linear()
        network, optimizer, images, labels, check = problem(model)
        network.micro_batch = micro_batch
        batches = ExampleOrder(300).batches(256)
        train(network, optimizer, images, labels, batches, check, Budget(4, 24, 24))
        weights.append(model[1].weight.detach().clone())
    for other in weights[1:]:
        # 24 updates, each a float32 sum over 256 examples in another order.
        torch.testing.assert_close(other, weights[0], rtol=1e-5, atol=1e-6)


def test_batches_may_be_larger_than_an_epoch_left(runner):
    run = runner()(spec(batch_size=1000, limit=8))
    assert run.samples == 8000


def test_a_trial_has_the_same_weights_and_mask_at_every_batch_size_and_nested_masks(runner):
    network = runner(sparsities=(0.5, 0.9), backend="dense")
    start, masks = network.network(2, 0.9)
    again, wider = network.network(2, 0.5)
    other, _ = network.network(3, 0.9)
    for a, b, c in zip(start.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.ndim == 1 or not torch.equal(a, c)
    for narrow, wide in zip(masks.values(), wider.values(), strict=True):
        assert not (narrow & ~wide).any()


def test_masks_are_shared_between_workers_and_a_damaged_or_foreign_one_is_made_again(
    runner, tmp_path, monkeypatch
):
    runner = runner()
    sparsity = next(filter(None, runner.definition.sparsities))
    workload = runner.definition.workload
    initial = model.build(workload.model, runner.dataset.input_shape, runner.dataset.n_classes, seed=0)
    first, second, third = (TrialRunner(runner.definition, masks_dir=tmp_path / "masks") for _ in range(3))
    expected = first.masks(initial, 0, sparsity)
    made = []
    saliencies = prune.saliencies
    monkeypatch.setattr(prune, "saliencies", lambda *a, **k: made.append(1) or saliencies(*a, **k))
    found = second.masks(initial, 0, sparsity)
    assert not made
    for name, mask in expected.items():
        assert torch.equal(found[name], mask)
    (path,) = (tmp_path / "masks").glob(f"trial-0-sparsity-{sparsity:g}.npz")
    mask_file.save(path, {name: ~mask for name, mask in expected.items()}, seed=7)
    assert torch.equal(third.masks(initial, 0, sparsity)["fc.weight"], expected["fc.weight"])
    assert made == [1]
    path.write_bytes(b"not a mask")
    fourth = TrialRunner(runner.definition, masks_dir=tmp_path / "masks")
    assert torch.equal(fourth.masks(initial, 0, sparsity)["fc.weight"], expected["fc.weight"])
    made.clear()
    changed = model.build(workload.model, runner.dataset.input_shape, runner.dataset.n_classes, seed=1)
    fifth = TrialRunner(runner.definition, masks_dir=tmp_path / "masks")
    fifth.masks(changed, 0, sparsity)
    assert made == [1], "the masks of other initial weights were taken"


def test_a_worker_keeps_the_masks_of_one_seed(runner, tmp_path):
    worker = TrialRunner(runner(sparsities=(0.5, 0.9)).definition, masks_dir=tmp_path / "masks")
    for seed in (0, 1, 0):
        for sparsity in (0.5, 0.9):
            worker.network(seed, sparsity)
        assert set(worker._masks) == {(seed, 0.5), (seed, 0.9)}


def make_masks(runner, sparsity, together, results):
    """Make the masks of trial 0 when the other process is ready to."""
    workload = runner.definition.workload
    initial = model.build(workload.model, runner.dataset.input_shape, runner.dataset.n_classes, seed=0)
    together.wait(60)
    masks = runner.masks(initial, 0, sparsity)
    results.put({name: mask.numpy() for name, mask in masks.items()})


def test_two_processes_that_make_one_mask_at_the_same_time_agree_and_leave_one_whole_file(runner, tmp_path):
    definition = runner().definition
    sparsity = next(filter(None, definition.sparsities))
    spawn = multiprocessing.get_context("spawn")
    together, results = spawn.Barrier(2), spawn.Queue()
    folder = tmp_path / "masks"
    workers = [
        spawn.Process(
            target=make_masks,
            args=(TrialRunner(definition, masks_dir=folder), sparsity, together, results),
            daemon=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    first, second = results.get(timeout=120), results.get(timeout=120)
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    stored, _ = mask_file.load(folder / f"trial-0-sparsity-{sparsity:g}.npz")
    for name, mask in stored.items():
        assert np.array_equal(first[name], mask.numpy())
        assert np.array_equal(second[name], mask.numpy())
    assert not [path.name for path in folder.iterdir() if path.suffix != ".npz"]  # no half-written ones
