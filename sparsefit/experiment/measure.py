"""Training with a ruler: the trajectories whose measurements make up a decomposition."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsefit.errors import InputError
from sparsefit.experiment import data, model, prune
from sparsefit.experiment.goal import GoalCheck
from sparsefit.experiment.gradient_noise import Unbiasedness, check_unbiasedness, gradient_noise
from sparsefit.experiment.gradients import Evaluation, Objective
from sparsefit.experiment.network import TorchNetwork
from sparsefit.experiment.optimizer import Optimizer
from sparsefit.experiment.smoothness import PAPER_GAMMAS, local_smoothness
from sparsefit.experiment.trial import accumulate_gradient, broken
from sparsefit.experiment.workload import Workload, check_sparsity
from sparsefit.trajectory import Point, Trajectory

NORM_EXAMPLES, LEAST_NORM_EXAMPLES = 4096, 64
"""Examples of each of the two draws behind ‖∇f(w_k)‖²: the first over k, and no fewer than the second. In
Simple-CNN the gradients of the first steps are the largest by far and make up most of ε."""

MU_BATCHES = 32
"""Mini-batches that the check of unbiasedness compares with the full gradient."""

DEFAULT_RATES = {"sgd": 0.1, "momentum": 0.01, "nesterov": 0.01}
"""Learning rates unless told otherwise; with momentum, what section 2.3 of the paper found best."""

DEFAULT_MOMENTUM = 0.9
"""Section 2.3 of the paper: the best is a little larger."""


@dataclass(frozen=True)
class Choices:
    """What the paper does not state, the same for dense and sparse.

    Attributes
    ----------
    metaparameters : dict of str to float
        As `Optimizer` takes them.
    batch_size, steps, every : int
        Measured are the initial weights (step 1) and every `every`-th step, as in the release.
    gammas : tuple of float
        Of Eq. 7.
    beta_examples : int or None
        Examples that β is estimated from at each point; None is the whole training set.
    curvature_examples : int or None
        Examples of the gradients of Eq. 7, drawn once a seed; None is the whole training set.
    """

    metaparameters: dict[str, float]
    batch_size: int
    steps: int
    every: int
    gammas: tuple[float, ...] = PAPER_GAMMAS
    beta_examples: int | None = None
    curvature_examples: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the record."""
        return {**vars(self), "gammas": list(self.gammas), "metaparameters": dict(self.metaparameters)}


def default_metaparameters(workload: Workload) -> dict[str, float]:
    """Return the metaparameters that a decomposition trains with unless told otherwise.

    `DEFAULT_RATES`, `DEFAULT_MOMENTUM`, and the middle of the search range for what a schedule needs.
    """
    found = {name: range_.value(0.5) for name, range_ in workload.search_space.items()}
    found["learning_rate"] = DEFAULT_RATES[workload.optimizer]
    if "momentum" in found:
        found["momentum"] = DEFAULT_MOMENTUM
    return found


def measure(
    workload: Workload,
    dataset: data.DataSet,
    sparsities: Sequence[float],
    seeds: Sequence[int],
    choices: Choices,
    *,
    confidence: float = 0.95,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Trajectory]:
    """Train and measure the dense network and each sparse one from every seed.

    A seed stands for one whole repetition: the split, the initial weights and hence the masks, and the
    order of the mini-batches. Within a seed, dense and sparse share all of these; the masks are nested.

    Parameters
    ----------
    workload : Workload
    dataset : DataSet
        That of the workload.
    sparsities : sequence of float
        Without 0; the dense network always runs.
    seeds : sequence of int
    choices : Choices
    confidence : float
        Of the intervals of sampling errors.
    progress : callable
        Told, in words, what runs.

    Raises
    ------
    InputError
        A sparsity, batch size or number of examples out of range; training that diverges.
    """
    for sparsity in sparsities:
        check_sparsity(sparsity)
    if not 1 < choices.every <= choices.steps:
        raise InputError(
            f"every: got {choices.every}, allowed 2 up to the number of steps, {choices.steps}: "
            "at least one step after the first must be measured"
        )
    trajectories = []
    for seed in seeds:
        repetition = Repetition(workload, dataset, seed, choices, confidence)
        for sparsity in (0.0, *sparsities):
            progress(f"seed {seed}, {f'sparsity {sparsity:g}' if sparsity else 'dense'}")
            trajectories.append(repetition.trajectory(sparsity, progress))
    return trajectories


class Repetition:
    """One seed: its split, initial network, saliencies and order of examples, shared by all sparsities."""

    def __init__(
        self, workload: Workload, dataset: data.DataSet, seed: int, choices: Choices, confidence: float
    ) -> None:
        self.workload = workload
        self.dataset = dataset
        self.seed = seed
        self.choices = choices
        self.confidence = confidence
        self.order = data.ExampleOrder(len(dataset.train_labels), seed)
        self._saliency: dict[str, torch.Tensor] = {}
        n_train = len(self.order.train)
        if 2 * choices.batch_size > n_train:
            raise InputError(
                f"batch size: got {choices.batch_size}, allowed up to half of the {n_train} training "
                "examples: the check of μ compares mini-batches with the full gradient"
            )

    def masks(self, network: nn.Module, sparsity: float) -> prune.Masks:
        """Return the masks of one sparsity; saliencies are computed once."""
        if not sparsity:
            return prune.keep_all(network)
        if not self._saliency:
            self._saliency = prune.saliencies(
                network,
                self.dataset,
                self.order.pruning,
                method=self.workload.pruning,
                scope=self.workload.pruning_scope,
                biases=self.workload.prune_biases,
                seed=self.seed,
            )
        return prune.top(network, self._saliency, sparsity)

    def trajectory(self, sparsity: float, progress: Callable[[str], None]) -> Trajectory:
        """Train one network and measure it on the way."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # for models that draw numbers while they train
            return self._trajectory(sparsity, progress)

    def _check_model(self, objective: Objective, network: nn.Module) -> None:
        """Refuse a user's model whose gradients cannot be had, before it is trained."""
        first = objective.indices[:2]
        remedy = (
            "decompose needs gradients of single examples in evaluation mode: no layers that mix examples "
            "there, no forward pass that depends on the values of its input, and each weight in a layer"
        )
        with (
            model.blamed(self.workload.model, "cannot be measured", remedy),
            torch.random.fork_rng(devices=[]),
        ):
            objective.evaluate(objective.initial, first)
            next(objective.per_example(objective.initial, first))
        with model.blamed(self.workload.model, "cannot be trained"), torch.random.fork_rng(devices=[]):
            images, labels = (part[first] for part in (self.dataset.train_images, self.dataset.train_labels))
            TorchNetwork(copy.deepcopy(network)).add_gradient(images, labels, 2)

    def _trajectory(self, sparsity: float, progress: Callable[[str], None]) -> Trajectory:
        choices = self.choices
        images, labels = self.dataset.train_images, self.dataset.train_labels
        network = model.build(
            self.workload.model, self.dataset.input_shape, self.dataset.n_classes, self.seed
        )
        masks = self.masks(network, sparsity)
        prune.apply(network, masks)
        parameters = dict(network.named_parameters())
        optimizer = Optimizer(
            list(parameters.values()),
            self.workload.optimizer,
            self.workload.schedule,
            choices.metaparameters,
            {parameters[name]: mask for name, mask in masks.items()},
        )
        objective = Objective(
            network, images, labels, indices=torch.from_numpy(self.order.train), masks=masks
        )
        if self.workload.model not in model.MODELS:
            self._check_model(objective, network)
        ruler = Ruler(objective, choices, self.seed, self.confidence)
        trained = TorchNetwork(network)
        batches = self.batches()
        check = self.goal_check()
        goal_step = None
        points: list[Point] = []
        squared_norms: list[float] = []
        unbiasedness = ruler.check_unbiasedness(self.batches())
        for step in range(1, choices.steps + 1):
            measured = step == 1 or step % choices.every == 0
            if measured or goal_step is None:
                before = objective.follow(network)
            if measured:
                progress(f"step {step} of {choices.steps}")
            elif goal_step is None:
                squared_norms.append(ruler.squared_norm(step, before))
            batch = torch.from_numpy(next(batches))
            loss = accumulate_gradient(trained, optimizer, images, labels, batch)
            if not np.isfinite(loss):
                if step == 1:
                    raise broken(loss)
                raise InputError(
                    f"training diverged at step {step} (sparsity {sparsity:g}, seed {self.seed}): "
                    f"choose a learning rate below {choices.metaparameters['learning_rate']:g}"
                )
            optimizer.step(step - 1)
            if measured:
                points.append(ruler.measure(step, before, objective.flatten(network)))
            if measured and goal_step is None:
                squared_norms.append(points[-1].gradient_squared_norm)
            if goal_step is None and step % self.workload.eval_interval == 0:
                goal_step = step if check.met(trained.evaluate) else None
        return Trajectory(
            seed=self.seed,
            sparsity=sparsity,
            learning_rate=choices.metaparameters["learning_rate"],
            batch_size=choices.batch_size,
            points=tuple(points),
            squared_norms=tuple(squared_norms),
            goal_step=goal_step,
            mu=unbiasedness.mu,
            batch_variance=unbiasedness.variance,
        )

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """Return the mini-batches from the start: every network of the seed sees the same ones."""
        return data.ExampleOrder(len(self.dataset.train_labels), self.seed).batches(self.choices.batch_size)

    def goal_check(self) -> GoalCheck:
        """Return a check of the workload's goal on this seed's validation set."""
        validation = torch.from_numpy(self.order.validation)
        return GoalCheck(
            self.dataset.train_images[validation],
            self.dataset.train_labels[validation],
            self.workload.goal_count(len(validation)),
        )


class Ruler:
    """Measures one network; what it draws without looking at the network is the same at every sparsity."""

    def __init__(self, objective: Objective, choices: Choices, seed: int, confidence: float) -> None:
        self.objective = objective
        self.choices = choices
        self.confidence = confidence
        self._generator = np.random.default_rng(seed)
        self._of_norms = np.random.default_rng((seed, 1))
        n = choices.curvature_examples
        self._subset = None
        if n is not None and n < len(objective.indices):
            chosen = self._generator.choice(len(objective.indices), n, replace=False)
            self._subset = objective.indices[torch.from_numpy(chosen)]

    @cached_property
    def initial(self) -> Evaluation:
        """Loss and gradient over the training set at the initial weights."""
        return self.objective.evaluate(self.objective.initial)

    def squared_norm(self, step: int, weights: Tensor) -> float:
        """Return an unbiased estimate of ‖∇f(w_k)‖²: the product of the gradients of two independent draws.

        Where these would take as many examples as there are, it is the square of the gradient over all.
        """
        n, of = max(NORM_EXAMPLES // step, LEAST_NORM_EXAMPLES), len(self.objective.indices)
        if 2 * n >= of:
            return float(self.objective.evaluate(weights).gradient.square().sum())
        draws = torch.from_numpy(self._of_norms.integers(of, size=(2, n)))
        first, second = (
            self.objective.evaluate(weights, self.objective.indices[draw]).gradient for draw in draws
        )
        return float(first @ second)

    def check_unbiasedness(self, batches: Iterator[NDArray[np.int64]]) -> Unbiasedness:
        """Compare the first mini-batches with the full gradient at the initial weights."""
        return check_unbiasedness(
            self.objective, self.objective.initial, self.initial, batches, MU_BATCHES, self.confidence
        )

    def measure(self, step: int, weights: Tensor, following: Tensor) -> Point:
        """Measure f, ∇f, β at w_k and L̂ along the step to w_{k+1}."""
        full = self.initial if step == 1 else self.objective.evaluate(weights)
        noise = gradient_noise(
            self.objective, weights, full, self.choices.beta_examples, self._generator, self.confidence
        )
        smoothness = local_smoothness(
            self.objective,
            weights,
            following,
            self.choices.gammas,
            start=full.gradient if self._subset is None else None,
            indices=self._subset,
        )
        return Point(
            step=step,
            loss=full.loss,
            gradient_squared_norm=float(full.gradient.square().sum()),
            smoothness=smoothness.value,
            smoothness_curve=smoothness.curve,
            beta=noise.beta,
            smoothness_layers=smoothness.layers,
            beta_layers=noise.layers,
        )
