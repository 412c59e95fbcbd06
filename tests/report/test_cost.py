"""Costs of trials, of which a table may record a part only."""

from itertools import combinations

import pandas as pd
import pytest

from sparsefit.report.figures import cost
from sparsefit.report.material import combine
from sparsefit.report.source import COSTS, make_source
from sparsefit.report.style import render

N, GOAL = 1000, 0.02  # examples of the validation set, and the share of errors allowed


def workload(names, goal=GOAL):
    rows = [
        {
            "goal_error": goal,
            "batch_size": size,
            "trial": trial,
            "steps": 4000 // size + 30 + trial,
            "samples": 4000 + 30 * size,
            "seconds": 10,
            "total_seconds": 12,
            "check_seconds": 1,
            "checks": 5,
            "evaluated": 5 * N - 100,
            "floor": 4 * 21 + N - 20,
            "runs": 1,
        }
        for size in (4, 8, 16, 32)
        for trial in (0, 1)
    ]
    table = pd.DataFrame(rows).drop(columns=[name for name in COSTS if name not in names])
    return combine([make_source(table, "t.csv", "table", "0")], {}).workloads[0]


@pytest.mark.parametrize("lost", [*combinations(COSTS[1:], 2), COSTS[1:], ()])
def test_what_is_recorded_is_drawn_and_told(lost):
    frame = cost.gather(workload([name for name in COSTS if name not in lost]))
    said = cost.words(frame)
    assert "Rounds and caps" in said
    assert ("Trials that a later round" in said) == ({"seconds", "total_seconds"}.isdisjoint(lost))
    assert ("Goal checks" in said) == ("evaluated" not in lost)
    assert ("% of whole evaluations" in said) == ({"evaluated", "checks", "floor"}.isdisjoint(lost))
    assert render(cost.draw, frame).png.startswith(b"\x89PNG")


def test_the_size_of_the_validation_set_follows_from_the_floors_and_a_goal_that_is_a_number():
    frame = cost.gather(workload(COSTS))
    assert (frame["evaluated_full"] == 2 * 5 * N).all()
    frame = cost.gather(workload(COSTS, goal="2%"))
    assert frame["evaluated_full"].isna().all()
    assert "of a number in full that this input does not tell" in cost.words(frame)


def test_without_examples_trained_on_there_is_no_figure():
    assert cost.gather(workload(["seconds"])).empty
