"""What a table does not say about its steps and looks as if it should: a note, and no other number."""

import numpy as np
import pandas as pd
import pytest

from tests.fitting.test_steps import measure


def test_trial_stopped_before_the_best_step_is_told_of():
    """As successive halving stops trials: they might have reached the goal first."""
    rows = [(size, trial, steps) for size in (8, 16) for trial, steps in enumerate((4000 // size, -1))]
    table = pd.DataFrame(rows, columns=["batch_size", "trial", "steps"])
    assert (
        measure(table.to_csv(index=False), max_steps=100)
        .warnings[0]
        .startswith("2 studies have trials that were stopped")
    )
    assert measure(table.to_csv(index=False), max_steps=300).warnings[0].startswith("1 studies have trials")
    assert measure(table.to_csv(index=False), max_steps=500).warnings == ()


@pytest.mark.parametrize(
    ("interval", "plateau", "warned"), [(16, 150, True), (1, 10, True), (1, 150, False), (0, 10, False)]
)
def test_steps_on_a_grid_without_an_evaluation_interval_are_told_of(interval, plateau, warned):
    size = 2.0 ** np.arange(3, 11)
    steps = 7_800 / size + plateau + 0.3
    table = pd.DataFrame(
        {"batch_size": size, "steps": np.ceil(steps / interval) * interval if interval else steps}
    )
    found = measure(table.to_csv(index=False)).warnings
    assert bool(found) == warned
    assert not warned or f"--eval-interval {interval}" in found[0]
    assert measure(table.to_csv(index=False), eval_interval=16).warnings == ()


def test_steps_that_are_all_that_a_run_had_are_told_of():
    text = "batch_size,steps,max_steps\n8,2000,2000\n16,1418,2000\n32,900,2000\n"
    found = measure(text)
    assert not found.table.censored.any()
    assert found.warnings == (
        "1 rows, such as row 1 below the header, have 'max_steps' or more 'steps' and count as reached: "
        "where a run only ended there, write -1 in their place",
    )
    said = text.replace("steps\n", "steps,status\n", 1).replace("2000\n", "2000,reached\n")
    assert measure(said).warnings == ()
