"""Which column means what: known names in any spelling, no guess between two, ``by`` before all else."""

import pandas as pd
import pytest

from sparsefit import fit
from sparsefit.errors import InputError
from sparsefit.fitting.columns import find_columns
from sparsefit.fitting.steps import measure_steps


def table(columns, cells=(("8", "500"), ("16", "300"))):
    return pd.DataFrame(list(cells), columns=columns, dtype=str)


@pytest.mark.parametrize("batch", ["batch_size", "Batch Size", "batch-size", "BS", "bs", "B", "batchsize"])
@pytest.mark.parametrize("steps", ["steps", "step", "Iterations", "global_step", "steps-to-result"])
def test_known_names_are_found_in_any_spelling(batch, steps):
    columns = find_columns(table([batch, steps]))
    assert (columns.batch_size, columns.steps) == (batch, steps)


def test_a_longer_name_that_holds_the_meaning_is_found():
    columns = find_columns(table(["log_batch_size_raw", "steps_used_in_fit"]))
    assert (columns.batch_size, columns.steps) == ("log_batch_size_raw", "steps_used_in_fit")


def test_two_columns_that_could_be_the_steps_are_refused_and_one_can_be_chosen():
    frame = table(["batch_size", "steps_measured", "steps_used_in_fit"], [("8", "510", "500")])
    with pytest.raises(InputError, match=r"steps_measured.*steps_used_in_fit.*--steps-column"):
        find_columns(frame)
    assert find_columns(frame, steps_column="steps_measured").steps == "steps_measured"


def test_the_plain_name_wins_over_longer_ones():
    frame = table(["batch_size", "steps", "steps_from_x"], [("8", "500", "501")])
    assert find_columns(frame).steps == "steps"


@pytest.mark.parametrize(
    ("header", "message"),
    [(["size", "steps"], "no batch size column"), (["batch_size", "k"], "no steps col")],
)
def test_a_missing_column_is_named_with_what_is_there_and_allowed(header, message):
    with pytest.raises(InputError, match=f"{message}.*got .*allowed "):
        find_columns(table(header))


def test_two_columns_of_one_optional_meaning_are_refused():
    frame = table(["batch_size", "steps", "seed", "replicate"], [("8", "500", "0", "0")])
    with pytest.raises(InputError, match="'seed', 'replicate' could all be 'replicate'"):
        find_columns(frame)


def digitised():
    """Return two data sets with several goals each, 17 curves, and numbers that are no groups."""
    goals = {"CIFAR10": 10, "MNIST": 7}
    return pd.DataFrame(
        [
            {
                "task": task,
                "optimizer": "Momentum" if task == "CIFAR10" else "SGD",
                "goal_error": str(goal / 20),
                "batch_size": str(size),
                "steps": str(1000 * goal / size + 10),
                "steps_from_x": str(1001 * goal / size + 10),
                "residual": str(goal / size),
                "marker": str(size % 3),
            }
            for task, count in goals.items()
            for goal in range(1, count + 1)
            for size in (8, 16, 32, 64)
        ]
    )


def test_a_table_of_17_curves_is_split_into_17_groups():
    frame = digitised()
    columns = find_columns(frame)
    assert columns.by == ("task", "optimizer", "goal_error")
    assert len(list(measure_steps(frame, columns).groups())) == 17


def test_numbers_that_are_no_known_identity_never_group_rows():
    assert find_columns(digitised()).ignored == ("steps_from_x", "residual", "marker")


def test_unknown_text_groups_rows_where_each_value_spans_batch_sizes():
    frame = pd.DataFrame(
        {
            "batch_size": ["8", "16", "8", "16"],
            "steps": ["500", "300", "600", "400"],
            "laboratory": ["a", "a", "b", "b"],
            "run_name": ["r1", "r2", "r3", "r4"],
        }
    )
    columns = find_columns(frame)
    assert columns.by == ("laboratory",)
    assert columns.ignored == ("run_name",)


@pytest.mark.parametrize(
    "name", ["learning_rate", "Learning Rate", "lr", "wd", "config.lr", "beta2", "warmup_steps"]
)
def test_metaparameters_never_group_rows_even_as_text(name):
    cells = [("8", "500", "0,03"), ("16", "300", "0,03"), ("8", "600", "0,1"), ("16", "400", "0,1")]
    columns = find_columns(table(["batch_size", "steps", name], cells))
    assert (columns.by, columns.metaparameters, columns.ignored) == ((), (name,), ())
    assert columns.by_setting
    assert find_columns(table(["batch_size", "steps", name], cells), by=[name]).by == (name,)


def test_steps_of_a_schedule_are_no_steps_to_result():
    names = ["batch_size", "Steps to target", "warmup_steps", "decay_steps"]
    assert find_columns(table(names, [("8", "500", "10", "900")])).steps == "Steps to target"


def test_by_overrides_the_groups_that_were_found():
    columns = find_columns(digitised(), by=["task"])
    assert columns.by == ("task",)
    assert "goal_error" in columns.ignored


def test_by_takes_a_column_from_its_optional_meaning():
    frame = table(["batch_size", "steps", "seed"], [("8", "500", "0"), ("8", "510", "1")])
    columns = find_columns(frame, by=["seed"])
    assert columns.by == ("seed",)
    assert columns.optional == {}


def test_by_refuses_a_column_that_is_missing_or_measured():
    with pytest.raises(InputError, match="--by: got 'colour', allowed are the columns"):
        find_columns(digitised(), by=["colour"])
    with pytest.raises(InputError, match="cannot group rows"):
        find_columns(digitised(), by=["batch_size"])


def test_words_under_the_name_of_a_metaparameter_split_the_rows():
    cells = [("8", "yes", "700"), ("16", "yes", "500"), ("8", "no", "900"), ("16", "no", "600")]
    assert find_columns(table(["batch_size", "warmup", "steps"], cells)).by == ("warmup",)
    cells = [("8", "0,1", "700"), ("16", "0,1", "500"), ("8", "0,3", "900"), ("16", "0,3", "600")]
    assert find_columns(table(["batch_size", "lr", "steps"], cells)).by == ()


@pytest.mark.parametrize("name", ["censored", "eval_interval", "by", "trial"])
def test_a_column_that_groups_may_have_any_name(name):
    frame = pd.DataFrame({"batch_size": [8, 16, 8, 16], "steps": [7, 5, 9, 6], name: list("aabb")})
    assert [found.group for found in fit(frame, by=[name]).fits] == [{name: "a"}, {name: "b"}]


@pytest.mark.parametrize("name", ["loss_target", "goal_error", "target", "val_goal"])
def test_a_goal_splits_rows_wherever_its_name_says_so(name):
    frame = table(["batch_size", "steps", name], [("8", "500", "0.1"), ("8", "900", "0.05")])
    assert find_columns(frame).by == (name,)


@pytest.mark.parametrize("name", ["goal_step", "steps_to_target", "steps_to_goal"])
def test_the_steps_to_a_goal_are_steps_and_no_goal(name):
    frame = table(["batch_size", "total_steps", name], [("8", "5000", "900"), ("16", "5000", "500")])
    columns = find_columns(frame)
    assert (columns.steps, columns.by) == (name, ())


@pytest.mark.parametrize(
    "name", ["gradient_accumulation_steps", "config.max_steps", "eval_steps", "log_steps"]
)
def test_steps_that_are_a_setting_are_no_result(name):
    frame = table(["batch_size", name, "iters"], [("8", "4", "900"), ("16", "4", "500")])
    with pytest.raises(InputError, match="no steps column"):
        find_columns(frame)


@pytest.mark.parametrize("cells", [("True", "False"), ("yes", "no"), ("1", "0")])
@pytest.mark.parametrize("name", ["reached", "converged", "Success"])
def test_a_yes_or_no_says_whether_the_goal_was_reached(name, cells):
    frame = table(["batch_size", "steps", name], [("8", "500", cells[0]), ("16", "900", cells[1])])
    columns = find_columns(frame)
    assert columns.by == ()
    assert list(measure_steps(frame, columns).table.censored) == [False, True]


def test_numbers_of_trials_that_reached_the_goal_are_no_yes_or_no():
    frame = table(
        ["batch_size", "steps", "trials", "reached"], [("8", "500", "9", "1"), ("16", "", "9", "0")]
    )
    assert "outcome" not in find_columns(frame).optional
