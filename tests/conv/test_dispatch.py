"""The choice between sparse and dense: made once, printable, fixable."""

import pytest
import torch

from sparsefit.conv import SparseConv2d, choices, dispatch, restore_choices, to_blocked
from sparsefit.conv.call import Call
from sparsefit.errors import InputError
from tests.conv.oracle import Case

CASE = Case(n=8, c_in=8, c_out=8, size=(8, 8))


def layer_and_input(backend=None):
    """Return a layer and a batch."""
    return SparseConv2d.from_dense(CASE.conv(), CASE.mask(), backend=backend), CASE.input()


@pytest.fixture
def auto(backend):
    """Set the backend "auto" with nothing chosen yet."""
    backend("auto")
    restore_choices([])


@pytest.fixture
def clock(monkeypatch):
    """Make sparse or dense appear to take a given time."""

    def fake(sparse, dense):
        now = [0.0]
        monkeypatch.setattr(dispatch.time, "perf_counter", lambda: now[0])

        def measure(situation, call, run_sparse, run_dense, real=dispatch._measure):
            def taking(seconds):
                def take():
                    now[0] += seconds

                return take

            return real(situation, call, taking(sparse), taking(dense))

        monkeypatch.setattr(dispatch, "_measure", measure)

    return fake


def test_dense_is_measured_with_the_weight_that_it_has_to_make(auto, monkeypatch):
    made = []
    real = Call.dense_weight

    def note(call, values):
        made.append(call.has_dense_weight)
        return real(call, values)

    monkeypatch.setattr(Call, "dense_weight", note)
    layer, x = layer_and_input()
    layer(x)
    assert len(made) >= 4  # to warm up, and in three rounds
    assert not any(made)


@pytest.mark.parametrize(
    ("sparse", "dense", "winner"), [(1.0, 2.0, "sparse"), (2.0, 1.0, "dense"), (1.0, 1.03125, "dense")]
)
def test_the_faster_wins_and_a_tie_goes_to_dense(auto, clock, sparse, dense, winner):
    clock(sparse, dense)
    layer, x = layer_and_input()
    layer(x)
    (choice,) = layer.choice()
    assert (choice.backend, choice.sparse_seconds, choice.dense_seconds) == (winner, sparse, dense)


def test_one_choice_per_pass_batch_bucket_and_layout(auto):
    layer, x = layer_and_input()
    layer(x).sum().backward()
    layer(x[:7]).sum().backward()  # the same bucket: more than 4, at most 8
    assert [c.situation.direction for c in choices()] == ["forward", "backward_weight"]
    layer(x.clone().requires_grad_()).sum().backward()
    assert [c.situation.direction for c in choices()] == ["forward", "backward_weight", "backward_input"]
    layer(x[:3])
    layer(to_blocked(x))
    layer(x.to(memory_format=torch.channels_last))
    assert [c.situation.batch for c in choices() if c.situation.layout == "contiguous"][-1] == 4
    assert {c.situation.layout for c in choices()} >= {"contiguous", "channels_last", "blocked"}


def test_restored_choices_are_obeyed_and_not_measured_again(auto, monkeypatch):
    layer, x = layer_and_input()
    layer(x).sum().backward()
    made = choices()
    flipped = [
        dispatch.Choice(c.situation, {"sparse": "dense", "dense": "sparse"}[c.backend], 0.0, 0.0)
        for c in made
    ]
    restore_choices(flipped)
    monkeypatch.setattr(dispatch, "_measure", lambda *_: pytest.fail("measured again"))
    layer(x)
    assert choices() == flipped


@pytest.mark.parametrize("name", ["sparse", "dense"])
def test_a_named_backend_is_never_measured(backend, monkeypatch, name):
    monkeypatch.setattr(dispatch, "_measure", lambda *_: pytest.fail("measured"))
    backend(name)
    layer, x = layer_and_input()
    layer(x).sum().backward()
    backend("auto")
    layer, x = layer_and_input(backend=name)
    layer(x).sum().backward()


def test_auto_gives_the_bits_of_the_backend_that_it_chose(auto):
    layer, x = layer_and_input()
    first, second = layer(x), layer(x)
    named = SparseConv2d.from_dense(CASE.conv(), CASE.mask(), backend=layer.choice()[0].backend)
    assert torch.equal(first, second)
    assert torch.equal(first, named(x))


def test_a_choice_prints_what_it_is_about(auto, clock):
    clock(1e-4, 2e-4)
    layer, x = layer_and_input()
    layer(x)
    text = str(layer.choice()[0])
    assert text.startswith("forward")
    assert "8 → 8" in text
    assert "3×3 on 8×8, batch ≤ 8" in text
    assert "sparse (sparse 100 µs, dense 200 µs)" in text


def test_choices_survive_pickle(auto):
    import pickle

    layer, x = layer_and_input()
    layer(x)
    assert pickle.loads(pickle.dumps(choices())) == choices()


@pytest.mark.parametrize("wrong", [[{"a": 1}], "auto", [None]])
def test_choices_that_are_none_leave_those_that_were_made(wrong):
    made = choices()
    with pytest.raises(InputError, match="takes what choices\\(\\) returned"):
        restore_choices(wrong)
    assert choices() == made
