"""Masks survive their file, and a file that holds none is refused."""

import numpy as np
import pytest
import torch

from sparsefit.errors import InputError
from sparsefit.experiment import mask_file


@pytest.fixture
def masks():
    """Masks of odd sizes, so that the last byte is not full."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (3, 1, 3, 3), "0.bias": (3,), "4.weight": (10, 12)}
    return {name: torch.rand(shape, generator=generator) < 0.3 for name, shape in shapes.items()}


def test_masks_survive_a_file_with_their_metadata(masks, tmp_path):
    mask_file.save(tmp_path / "masks.npz", masks, model="small", seed=0, sparsity=0.7)
    loaded, metadata = mask_file.load(tmp_path / "masks.npz")
    assert metadata == {"model": "small", "seed": 0, "sparsity": 0.7}
    assert list(loaded) == list(masks)
    assert all(torch.equal(loaded[name], masks[name]) for name in masks)
    assert [path.name for path in tmp_path.iterdir()] == ["masks.npz"]


@pytest.mark.parametrize("what", ["absent", "text", "pickled", "foreign", "truncated"])
def test_a_file_that_holds_no_masks_is_refused_and_never_unpickled(what, masks, tmp_path):
    path = tmp_path / "masks.npz"
    if what == "text":
        path.write_text("masks")
    elif what == "pickled":
        np.savez(path, **{"/": np.array([object()])})
    elif what == "foreign":
        np.savez(path, weights=np.zeros(3))
    elif what == "truncated":
        mask_file.save(path, masks)
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"masks\.npz cannot be read as masks"):
        mask_file.load(path)


def test_weights_are_not_taken_for_masks(tmp_path):
    with pytest.raises(InputError, match=r"mask of '0\.weight': got torch\.float32"):
        mask_file.save(tmp_path / "masks.npz", {"0.weight": torch.ones(3)})
    assert not list(tmp_path.iterdir())
