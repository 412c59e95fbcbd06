import pytest
import torch

from sparsefit.experiment.forecast import Forecast
from sparsefit.experiment.goal import GoalCheck, count_errors


def check_of(wrong, allowed):
    """A check whose "images" are their own logits: class 0 is right, class 1 is answered where `wrong`."""
    logits = torch.zeros(len(wrong), 2)
    logits[:, 0] = torch.where(wrong, -1.0, 1.0)
    return GoalCheck(logits, torch.zeros(len(wrong), dtype=torch.int64), allowed)


def test_met_equals_the_full_evaluation_whatever_the_errors():
    generator = torch.Generator().manual_seed(0)
    for share in torch.rand(300, generator=generator).tolist():
        wrong = torch.rand(500, generator=generator) < share * 0.3
        check = check_of(wrong, 50)
        expected = int(wrong.sum()) <= 50
        assert check.met(lambda x: x) == expected
        assert check.full(lambda x: x)[0] == expected


def test_exactly_the_allowed_errors_meet_the_goal_and_one_more_does_not():
    for errors, met in ((50, True), (51, False)):
        wrong = torch.zeros(500, dtype=torch.bool)
        wrong[100 : 100 + errors] = True
        assert check_of(wrong, 50).met(lambda x: x) is met


def test_a_refusal_costs_little_more_than_the_floor_once_the_hard_examples_are_known():
    wrong = torch.zeros(6000, dtype=torch.bool)
    wrong[::20] = True
    check = check_of(wrong, 120)
    assert not check.met(lambda x: x)
    first = check.evaluated
    assert not check.met(lambda x: x)
    assert first > 2000
    assert check.evaluated - first <= 160
    assert check.floor == 2 * 121


def test_a_goal_that_the_rest_cannot_spoil_is_met_without_it():
    check = check_of(torch.zeros(1000, dtype=torch.bool), 400)
    assert check.met(lambda x: x)
    assert check.floor == 600
    assert 600 <= check.evaluated < 600 + 32


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_logits_of_any_kind_are_judged_as_by_a_full_evaluation(value):
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(400, 3, generator=generator), torch.arange(400) % 3
    images[::7, 0] = value
    check = GoalCheck(images, labels, 300)
    for scale in (1.0, -1.0, 5.0, 1.0, 0.0):
        assert check.met(lambda x, scale=scale: x * scale) == check.full(lambda x, scale=scale: x * scale)[0]


def test_an_example_that_is_not_a_number_is_an_error():
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]])
    assert count_errors(logits, torch.tensor([1, 0])) == 1


def test_of_equal_logits_the_first_is_the_prediction_as_in_argmax():
    assert count_errors(torch.zeros(2, 3), torch.tensor([0, 1])) == 1


def test_what_moves_all_logits_alike_is_expected_after_a_few_examples():
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(3000) % 5
    logits = torch.randn(3000, 5, generator=generator) + 3.0 * torch.eye(5)[labels]
    forecast = Forecast(labels)
    everything = torch.arange(3000)
    forecast.observe(everything, logits)
    forecast.end()
    later = 1.5 * logits + torch.tensor([4.0, 0.0, 0.0, 0.0, -4.0])
    wrong = later.argmax(1) != labels
    without = wrong[forecast.hardest(500)].double().mean()
    forecast.observe(everything[:64], later[:64])
    found = wrong[forecast.hardest(500)].double().mean()
    assert found > 0.97  # the move is linear; the ridge and the 64 examples leave little
    assert found > without + 0.1


def test_an_example_is_named_once_a_check():
    labels = torch.zeros(100, dtype=torch.int64)
    forecast = Forecast(labels)
    for _ in range(2):
        named = []
        while len(named) < 100:
            chosen = forecast.hardest(20)
            forecast.observe(chosen, torch.randn(20, 4, generator=torch.Generator().manual_seed(3)))
            named += chosen.tolist()
        assert sorted(named) == list(range(100))
        forecast.end()
