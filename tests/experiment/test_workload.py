import dataclasses
import pickle

import pytest

from sparsefit.errors import InputError
from sparsefit.experiment import workload

PAPER = {
    "w1": ("mnist", "simple-cnn", "sgd", "constant", 0.02),
    "w2": ("mnist", "simple-cnn", "momentum", "constant", 0.02),
    "w3": ("fashion-mnist", "simple-cnn", "momentum", "constant", 0.12),
    "w4": ("cifar-10", "resnet-8", "nesterov", "linear", 0.4),
}
APPENDIX_D = {
    *((d, "simple-cnn", o, "constant", g) for o in ("sgd", "momentum", "nesterov")
      for d, g in (("mnist", 0.02), ("fashion-mnist", 0.12), ("fashion-mnist", 0.14))),
    *(("cifar-10", "resnet-8", o, "linear", 0.4) for o in ("sgd", "momentum", "nesterov")),
    *(("cifar-10", "resnet-8", o, "constant", 0.4) for o in ("sgd", "momentum")),
}  # fmt: skip


def identity(w):
    return w.dataset, w.model, w.optimizer, w.schedule, w.goal_error


@pytest.mark.parametrize("name", PAPER)
def test_w1_to_w4_are_those_of_the_paper(name):
    w = workload.load(name.upper())
    assert identity(w) == PAPER[name]
    assert w.comparison == "<="
    assert w.pruning == "snip"
    assert w.pruning_scope == "all"
    assert w.prune_biases
    assert w.sparsities == (0.0, 0.5, 0.7, 0.9)
    assert w.trials == 100


def test_every_workload_of_appendix_d_is_there_once():
    built_in = [workload.load(name) for name in workload.names() if name != "digits"]
    assert len(built_in) == len(APPENDIX_D)
    assert {identity(w) for w in built_in} == APPENDIX_D


def test_intervals_steps_and_batch_sizes_of_mnist_are_those_of_appendix_b():
    w1 = workload.load("w1")
    assert (w1.eval_interval, w1.max_steps) == (16, 40_000)
    assert w1.batch_sizes == tuple(2**r for r in range(1, 15))
    assert workload.load("w4").eval_interval == 32


@pytest.mark.parametrize(
    ("name", "n", "count"),
    [("w1", 6000, 120), ("w3", 6000, 720), ("w4", 5000, 2000), ("fashion-mnist-sgd-0.14", 6000, 840)],
)
def test_goals_are_whole_numbers_of_errors(name, n, count):
    w = workload.load(name)
    assert w.goal_count(n) == count
    assert dataclasses.replace(w, comparison="<").goal_count(n) == count - 1
    assert dataclasses.replace(w, comparison="<").goal_count(n + 1) == count


@pytest.mark.parametrize("name", workload.names())
def test_workloads_survive_dict_and_pickle(name):
    w = workload.load(name)
    assert workload.from_dict(w.to_dict()) == w
    assert pickle.loads(pickle.dumps(w)) == w


@pytest.mark.parametrize("name", ["../evil", "a/b", "a\\b", "", " ", ".."])
def test_a_name_that_would_leave_its_folder_is_refused(name):
    with pytest.raises(InputError, match="a word that can name a folder"):
        dataclasses.replace(workload.load("w2"), name=name)


def test_a_study_file_is_read_and_named_after_its_file(tmp_path):
    path = tmp_path / "mine.toml"
    text = (workload.BUILT_IN / "w1.toml").read_text().replace("goal_error = 0.02", "goal_error = 0.05")
    path.write_text(text.replace('"simple-cnn"', '"mine.models:build"'))
    w = workload.load(path)
    assert (w.name, w.goal_error, w.model) == ("mine", 0.05, "mine.models:build")


W1 = (workload.BUILT_IN / "w1.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("goal_error", "goal_eror", "unknown key 'goal_eror'; allowed name, dataset"),
        ("goal_error = 0.02\n", "", "'goal_error' is missing"),
        ("goal_error = 0.02", "goal_error = 2", "goal_error: got 2"),
        ("goal_error = 0.02", 'goal_error = "low"', "goal_error: got 'low', allowed a number"),
        ("goal_error = 0.02", "goal_error = true", "allowed a number"),
        ('"mnist"', '"imagenet"', "dataset: got 'imagenet', allowed mnist"),
        ('"sgd"', '"adam"', "optimizer: got 'adam', allowed sgd, momentum, nesterov"),
        ('"sgd"', '"momentum"', "got learning_rate, but momentum .* has learning_rate, momentum"),
        ('"constant"', '"cosine"', "schedule: got 'cosine'"),
        ('"simple-cnn"', '"lenet"', "model: got 'lenet', allowed simple-cnn"),
        ('"<="', '">"', "comparison"),
        ("eval_interval = 16", "eval_interval = 0", "eval_interval: got 0"),
        ("eval_interval = 16", "eval_interval = 1.5", "allowed a whole number"),
        ("eval_interval = 16", "eval_interval = 50_000", "never be checked"),
        ("batch_sizes = [2", "batch_sizes = [0", "batch_sizes"),
        ("batch_sizes = [2", 'batch_sizes = ["2"', "allowed a whole number"),
        ("min_value = 1e-4", "min_value = 0", "search_space.learning_rate: min_value"),
        ("min_value = 1e-4", "minimum = 1e-4", "unknown key 'minimum'"),
        ("min_value = 1e-4, ", "", "'min_value' is missing"),
        ("[search_space]", "sparsities = [1.0]\n[search_space]", "sparsity: got 1, allowed 0"),
        ("[search_space]", 'pruning = "lottery"\n[search_space]', "pruning: got 'lottery', allowed snip"),
        ("[search_space]", "sampling_seed = -1\n[search_space]", "sampling_seed: got -1, allowed 0 or more"),
        ("[search_space]", "[search_space", "not a TOML file"),
    ],
)  # fmt: skip
def test_a_wrong_study_file_is_refused_with_file_key_got_and_allowed(tmp_path, old, new, part):
    assert old in W1
    path = tmp_path / "study.toml"
    path.write_text(W1.replace(old, new))
    with pytest.raises(InputError, match=part) as caught:
        workload.load(path)
    assert "study.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "ends", "words"),
    [
        ("learning_rate", (-1.0, 1.0), "allowed numbers above 0"),
        ("momentum", (-3.0, 0.5), "allowed 0 up to, not including, 1"),
        ("momentum", (0.5, 1.0), "allowed 0 up to, not including, 1"),
        ("decay_steps", (0.9, 5.0), "allowed 1 or more"),
        ("end_learning_rate_factor", (0.1, 2.0), "allowed 0 to 1"),
    ],
)
def test_a_range_with_values_that_mean_nothing_is_refused(name, ends, words):
    table = workload.load("w4").to_dict()
    kind = "INTEGER" if name == "decay_steps" else "DOUBLE"
    table["search_space"][name] = {"min_value": ends[0], "max_value": ends[1], "type": kind}
    with pytest.raises(InputError, match=f"search_space.{name}: got .*{words}"):
        workload.from_dict(table)


def test_unknown_names_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"unknown workload 'w5'; known: .*w1, w2"):
        workload.load("w5")
    with pytest.raises(InputError, match="cannot be read"):
        workload.load(tmp_path / "absent.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        workload.load(binary)
