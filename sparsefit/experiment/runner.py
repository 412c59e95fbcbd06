"""The trial function: from a spec to a trained trial; each worker holds one copy and its data."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsefit.conv import sparsify
from sparsefit.conv.kernels import load_core
from sparsefit.conv.sparsify import KINDS
from sparsefit.errors import InputError
from sparsefit.experiment import data, mask_file, model, prune
from sparsefit.experiment.blocked_model import make_blocked
from sparsefit.experiment.goal import GoalCheck
from sparsefit.experiment.network import Network, TorchNetwork
from sparsefit.experiment.optimizer import Optimizer
from sparsefit.experiment.records import RepeatSpec, TrialEnd, TrialSpec
from sparsefit.experiment.study import Definition
from sparsefit.experiment.trial import Budget, broken, train


class TrialRunner:
    """Runs one trial after another of a sweep.

    Trial i has the same metaparameters, initial weights (seed i), order of examples (seed 0, as in the
    release) and, at one sparsity, mask, whatever the batch size. Data are read and masks made when first
    needed.

    Parameters
    ----------
    definition : Definition
    data_dir : path, optional
        See `data.load`.
    masks_dir : path, optional
        Where workers share masks, see `mask_folder`: SNIP over a whole training set takes as long as a trial.
    sweep : str
        What tells this sweep from an earlier one of that folder: masks of others are not taken.
    """

    def __init__(
        self,
        definition: Definition,
        data_dir: str | Path | None = None,
        masks_dir: str | Path | None = None,
        sweep: str = "",
    ) -> None:
        self.definition = definition
        self.data_dir = data_dir
        self.masks_dir = None if masks_dir is None else Path(masks_dir)
        self.sweep = sweep
        self._masks: dict[tuple[int, float], prune.Masks] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave data and masks behind: each worker reads and makes its own, wherever it was started."""
        return {
            "definition": self.definition.to_dict(),
            "data_dir": None if self.data_dir is None else Path(self.data_dir).absolute(),
            "masks_dir": None if self.masks_dir is None else self.masks_dir.absolute(),
            "sweep": self.sweep,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start as a new runner of the same sweep."""
        definition = Definition.from_dict(state["definition"])
        self.__init__(definition, state["data_dir"], state["masks_dir"], state["sweep"])  # type: ignore[misc]

    @cached_property
    def dataset(self) -> data.DataSet:
        """The data set of the workload."""
        return data.load(self.definition.workload.dataset, self.data_dir)

    @property
    def n_training(self) -> int:
        """Examples to train on, without the validation set."""
        return len(data.split(self.dataset)[0])

    @cached_property
    def validation(self) -> tuple[Tensor, Tensor]:
        """Images and labels of the validation set."""
        _, indices = data.split(self.dataset)
        return self.dataset.train_images[indices], self.dataset.train_labels[indices]

    @cached_property
    def settings(self) -> list[dict[str, float]]:
        """The metaparameters of every trial."""
        return self.definition.settings()

    def __call__(self, spec: TrialSpec | RepeatSpec) -> TrialEnd:
        """Run one trial up to its limit."""
        workload = self.definition.workload
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)  # for models that draw numbers while they train
            network, masks = self.network(spec.seed, spec.study.sparsity)
            optimizer = Optimizer(
                network.parameters(),
                workload.optimizer,
                workload.schedule,
                self.settings[spec.trial],
                masks,
            )
            images, labels = self.validation
            order = data.ExampleOrder(len(self.dataset.train_labels), epochs=spec.order_seed)
            return train(
                network,
                optimizer,
                self.dataset.train_images,
                self.dataset.train_labels,
                order.batches(spec.study.batch_size),
                GoalCheck(images, labels, workload.goal_count(len(labels))),
                Budget(workload.eval_interval, workload.max_steps, spec.limit),
                curves=self.definition.curves,
            )

    def check(self) -> str:
        """Refuse a model that cannot be built, pruned or trained before anything is kept; describe it."""
        if self.definition.backend == "sparse":
            load_core()
        name, dataset = self.definition.workload.model, self.dataset
        initial = model.build(name, dataset.input_shape, dataset.n_classes, seed=0)
        if sparse := list(filter(None, self.definition.sparsities)):
            names = prune.prunable(initial, biases=self.definition.workload.prune_biases)
            sizes = {name: parameter.numel() for name, parameter in initial.named_parameters()}
            prune.kappa(sum(sizes[name] for name in names), max(sparse))
        described = model.describe(initial)  # what is tried below masks the weights
        if name not in model.MODELS:
            model.check_seeded(initial, name, dataset.input_shape, dataset.n_classes, seed=0)
            self._check_training(initial)
        return described

    def _check_training(self, initial: nn.Module) -> None:
        """Refuse a user's model that cannot be made sparse, or trained on the smallest part of a batch."""
        masks = prune.keep_all(initial)
        for name in prune.prunable(initial, biases=False) if any(self.definition.sparsities) else ():
            # One that keeps everything needs no sparse layer.
            kept = torch.arange(masks[name].numel()) % 2 == 1
            masks[name] = kept.view(masks[name].shape)
        made, rest = self._with_masks(copy.deepcopy(initial), masks)
        workload = self.definition.workload
        Optimizer(made.parameters(), workload.optimizer, workload.schedule, self.settings[0], rest)
        self._check_masks(made, initial, masks)
        most = made.micro_batch
        n = min(size % most or most for size in self.definition.batch_sizes)
        problem = (
            f"cannot be trained on {n} images at once, the smallest part of a batch (large ones are cut into "
            f"{most})"
        )
        with model.blamed(workload.model, problem), torch.random.fork_rng(devices=[]):
            loss = made.add_gradient(self.dataset.train_images[:n], self.dataset.train_labels[:n], n)
        if not math.isfinite(loss):
            raise broken(loss)

    def _check_masks(self, made: Network, initial: nn.Module, masks: prune.Masks) -> None:
        """Refuse a model that computes with weights which its masks do not reach."""
        name, logits = self.definition.workload.model, []
        for network in (made, TorchNetwork(initial)):
            with model.blamed(name, "cannot be evaluated"), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # for models that draw numbers
                logits.append(network.evaluate(self.dataset.train_images[:2]))
            prune.apply(initial, masks)  # after the first, which may reach these weights
        # Other orders of adding up are off by 1e-5, by 1e-2 where a model computes in bfloat16; a layer
        # without its mask changes everything.
        error = float((logits[0] - logits[1]).abs().max())
        if error > 0.05 * float(logits[1].abs().max()):
            raise InputError(
                f"model {name!r} computes something else with sparse layers than "
                f"with masked weights (logits differ by {error:.2g}): it reaches its layers or weights by a "
                "way of its own; call each layer by its attribute, or use the backend 'dense'"
            )

    def network(self, seed: int, sparsity: float) -> tuple[Network, dict[nn.Parameter, Tensor]]:
        """Return the pruned model at its initial weights, and the masks that its layers do not apply.

        With sparse layers these are masks that keep a part of a bias, and those of subclasses of the layers.
        """
        initial = model.build(
            self.definition.workload.model, self.dataset.input_shape, self.dataset.n_classes, seed=seed
        )
        return self._with_masks(initial, self.masks(initial, seed, sparsity))

    def _with_masks(
        self, initial: nn.Module, masks: prune.Masks
    ) -> tuple[Network, dict[nn.Parameter, Tensor]]:
        needs_none = self.definition.workload.model not in model.MODELS and all(
            map(torch.all, masks.values())
        )
        if self.definition.backend == "dense" or needs_none:
            parameters = dict(initial.named_parameters())
            rest = {parameters[name]: mask for name, mask in masks.items() if not mask.all()}
            return TorchNetwork(initial), rest
        inside = {
            name: masks[name]
            for name in prune.prunable(initial, biases=True)
            # A subclass may not compute what its parent does; its weights are masked as with dense layers.
            if type(initial.get_submodule(name.rpartition(".")[0])) in KINDS
            and (name.endswith("weight") or masks[name].all() or not masks[name].any())
        }
        sparse = sparsify(initial, inside, backend="sparse")
        parameters = dict(sparse.named_parameters())
        rest = {
            parameters[name]: mask for name, mask in masks.items() if name not in inside and not mask.all()
        }
        return make_blocked(sparse) or TorchNetwork(sparse), rest

    def masks(self, initial: nn.Module, seed: int, sparsity: float) -> prune.Masks:
        """Return the masks of a seed; those of all sparsities are made at once, from one saliency."""
        if sparsity not in (0, *self.definition.sparsities):
            allowed = ", ".join(f"{each:g}" for each in self.definition.sparsities)
            raise InputError(f"sparsity: got {sparsity:g}, allowed those of the sweep: {allowed}")
        if sparsity == 0:
            return prune.keep_all(initial)
        if (seed, sparsity) not in self._masks:
            # Those of other seeds may take more memory than training does, and are in files.
            self._masks = {key: masks for key, masks in self._masks.items() if key[0] == seed}
            self._masks[seed, sparsity] = self._shared(initial, seed, sparsity) or self._make(
                initial, seed, sparsity
            )
        return self._masks[seed, sparsity]

    def _make(self, initial: nn.Module, seed: int, sparsity: float) -> prune.Masks:
        workload = self.definition.workload
        saliency = prune.saliencies(
            initial,
            self.dataset,
            data.ExampleOrder(len(self.dataset.train_labels)).pruning,
            method=workload.pruning,
            scope=workload.pruning_scope,
            biases=workload.prune_biases,
            seed=seed,
        )
        for each in filter(None, self.definition.sparsities):
            found = self._masks[seed, each] = prune.top(initial, saliency, each)
            if self.masks_dir is not None:
                # To share is to save time: a trial does not fail because a disk is full.
                with contextlib.suppress(OSError):
                    self.masks_dir.mkdir(exist_ok=True)
                    mask_file.save(self._mask_file(seed, each), found, **self._made_by(initial, seed, each))
        return self._masks[seed, sparsity]

    def _mask_file(self, seed: int, sparsity: float) -> Path:
        assert self.masks_dir is not None
        # The seed of a trial is its number; under another name the masks beside older sweeps would be lost.
        return self.masks_dir / f"trial-{seed}-sparsity-{sparsity:g}.npz"

    def _made_by(self, initial: nn.Module, seed: int, sparsity: float) -> dict[str, Any]:
        """Return all that a mask depends on."""
        workload = self.definition.workload
        return {
            "sweep": self.sweep,
            "dataset": self.dataset.checksum,
            "model": workload.model,
            "initial": model.digest(initial),
            "pruning": [workload.pruning, workload.pruning_scope, workload.prune_biases],
            "seed": seed,
            "sparsity": sparsity,
        }

    def _shared(self, initial: nn.Module, seed: int, sparsity: float) -> prune.Masks | None:
        """Return the masks that another worker or session left, None if there are none that can be used."""
        if self.masks_dir is None or not self._mask_file(seed, sparsity).exists():
            return None
        try:
            found, made_by = mask_file.load(self._mask_file(seed, sparsity))
        except InputError:
            return None
        return found if made_by == self._made_by(initial, seed, sparsity) else None


def mask_folder(store: str | Path) -> Path:
    """Return where the workers of a sweep share masks: beside its file, and safe to delete."""
    return Path(f"{store}.masks")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: a trial's numbers do not depend on the cores, and jobs do not fight for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
