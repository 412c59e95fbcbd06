import torch

from sparsefit.experiment.goal import GoalCheck, judge


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


def test_an_example_that_is_not_a_number_is_an_error():
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]])
    wrong, margins = judge(logits, torch.tensor([1, 0]))
    assert wrong.tolist() == [True, False]
    assert margins[1] == 1


def test_equal_logits_are_judged_by_the_first_as_argmax_does():
    wrong, _ = judge(torch.zeros(2, 3), torch.tensor([0, 1]))
    assert wrong.tolist() == [False, True]
