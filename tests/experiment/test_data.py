import hashlib

import numpy as np
import pytest
import torch

from sparsefit.errors import InputError
from sparsefit.experiment import data
from sparsefit.experiment.data import ExampleOrder
from sparsefit.experiment.data_sources import SOURCES
from tests.experiment import small_data

LABELS = {
    "mnist": "5041921314",
    "fashion-mnist": "9003027255",
    "cifar-10": "6994112783",
    "digits": "0123456789",
}
MOMENTS = {"mnist": (0.13066, 0.30811), "fashion-mnist": (0.28604, 0.35302)}
CIFAR_MEANS = (125.306918, 122.950394, 113.865383)
ORDERS = {60_000: "8ce7f06eda5f1bc5", 50_000: "5235c874149e38f3", 1_500: "704700c4c3ed9ac2"}
SIZES = {"mnist": (60_000, 1, 28, 28), "fashion-mnist": (60_000, 1, 28, 28), "cifar-10": (50_000, 3, 32, 32)}


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar-10"])
def test_real_data_have_the_protocols_labels_and_constants(name, real_data):
    dataset = data.load(name, real_data(name))
    assert tuple(dataset.train_images.shape) == SIZES[name]
    check_labels(dataset)
    if name in MOMENTS:
        assert (round(dataset.mean[0], 5), round(dataset.std[0], 5)) == MOMENTS[name]
    else:
        assert [round(255 * mean, 6) for mean in dataset.mean] == list(CIFAR_MEANS)
    check_standardised(dataset)


def test_digits_need_no_files():
    dataset = data.load("digits")
    assert dataset.input_shape == (1, 8, 8)
    assert len(dataset.train_labels) == 1_500
    check_labels(dataset)
    check_standardised(dataset)
    assert dataset.checksum == data.load("digits").checksum


def check_labels(dataset):
    assert "".join(map(str, dataset.train_labels[:10].tolist())) == LABELS[dataset.name]
    assert dataset.n_classes == 10


def check_standardised(dataset):
    images = dataset.train_images
    assert images.dtype == torch.float32
    assert dataset.train_labels.dtype == torch.int64
    std, mean = torch.std_mean(images.double(), dim=(0, 2, 3), correction=0)
    # Every pixel is rounded to float32 three times, so means over many stay far inside 1e-6.
    assert mean.tolist() == pytest.approx([0] * len(mean), abs=1e-6)
    assert std.tolist() == pytest.approx([1] * len(std), abs=1e-6)


@pytest.mark.parametrize("name", ["mnist", "cifar-10"])
def test_pixels_are_scaled_by_the_moments_of_the_training_set(name, monkeypatch, tmp_path):
    files = small_data.contents(name)
    monkeypatch.setitem(SOURCES, name, small_data.source(name, files))
    small_data.put(tmp_path / SOURCES[name].folders[0], files)
    dataset = data.load(name, tmp_path)
    pixels = np.frombuffer(next(iter(files.values())), np.uint8)
    first = pixels[1] if name == "cifar-10" else pixels[16]
    expected = (first / 255 - dataset.mean[0]) / dataset.std[0]
    assert dataset.train_images[0, 0, 0, 0].item() == pytest.approx(expected, abs=1e-6)  # float32
    check_standardised(dataset)


def test_an_unknown_data_set_is_refused():
    with pytest.raises(InputError, match="known: mnist, fashion-mnist, cifar-10, digits"):
        data.load("svhn")


def test_order_is_one_random_state_for_split_pruning_and_epochs():
    random = np.random.RandomState(0)
    indices = list(range(1_000))
    random.shuffle(indices)  # as in the release, on a list
    validation, train = indices[:100], indices[100:]
    shuffled = []
    for _ in range(3):  # pruning, first epoch, second epoch
        order = list(range(900))
        random.shuffle(order)
        shuffled.append([train[position] for position in order])
    own = ExampleOrder(1_000)
    assert own.validation.tolist() == validation
    assert own.train.tolist() == train
    assert own.pruning.tolist() == shuffled[0]
    batches = own.batches(64)
    drawn = np.concatenate([next(batches) for _ in range(28)]).tolist()
    assert drawn == (shuffled[1] + shuffled[2])[: 28 * 64]


@pytest.mark.parametrize("batch_size", [1, 7, 900, 901, 2_000])
def test_examples_come_in_the_same_order_at_every_batch_size(batch_size):
    batches = ExampleOrder(1_000).batches(batch_size)
    drawn = []
    while len(drawn) < 2_000:
        batch = next(batches)
        assert len(batch) == batch_size
        drawn.extend(batch.tolist())
    reference = ExampleOrder(1_000).batches(100)
    assert drawn[:2_000] == np.concatenate([next(reference) for _ in range(20)]).tolist()


def test_orders_of_the_real_sizes_are_pinned():
    digests = {}
    for n in (60_000, 50_000, 1_500):
        order = ExampleOrder(n)
        first = next(order.batches(len(order.train)))
        digests[n] = hashlib.sha256(
            np.concatenate([order.validation, order.pruning, first]).tobytes()
        ).hexdigest()[:16]
        assert len(order.validation) == n // 10
    assert digests == ORDERS


def test_split_is_ninety_to_ten_and_disjoint():
    dataset = data.load("digits")
    train, validation = data.split(dataset)
    assert (len(train), len(validation)) == (1_350, 150)
    assert sorted([*train, *validation]) == list(range(1_500))
    assert not np.array_equal(validation, data.split(dataset, seed=1)[1])
