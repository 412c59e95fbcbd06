"""From cells to rows of steps-to-result: no status is misread, no trial lost without a word."""

import io
import shlex

import numpy as np
import pandas as pd
import pytest

from sparsefit.errors import InputError
from sparsefit.fitting.columns import find_columns
from sparsefit.fitting.steps import measure_steps


def measure(text, *, by=None, **options):
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    return measure_steps(table, find_columns(table, by=by), **options)


def rows(text, **options):
    table = measure(text, **options).table
    return list(zip(table.batch_size, table.steps, table.censored, strict=True))


@pytest.mark.parametrize("word", ["reached", "complete", "Complete", "Reached", "REACHED"])
def test_words_for_a_reached_goal_give_an_exact_row(word):
    assert rows(f"batch_size,steps,status\n8,500,{word}\n") == [(8, 500, False)]


@pytest.mark.parametrize("word", ["not_reached", "not reached", "Did not reach", "incomplete", "-1", "-1.0"])
def test_words_for_a_missed_goal_give_a_bound(word):
    assert rows(f"batch_size,steps,status,max_steps\n8,,{word},900\n") == [(8, 900, True)]


@pytest.mark.parametrize("word", ["diverged", "infeasible", "INFEASIBLE", "-2", "-2.0"])
def test_diverged_rows_are_counted_and_not_fitted(word):
    found = measure(f"batch_size,steps,status\n8,500,reached\n16,,{word}\n")
    assert list(found.table.batch_size) == [8]
    assert found.warnings[0] == "1 diverged rows were counted, not fitted"


@pytest.mark.parametrize("word", ["COMPLETE", "INCOMPLETE"])
@pytest.mark.parametrize("header", ["batch_size,steps,status", "batch_size,status,steps"])
def test_the_words_of_shallue_are_refused_and_the_way_to_read_them_is_told(word, header):
    cells = {"batch_size": "8", "steps": "40000", "status": word}
    with pytest.raises(InputError, match=f"{word}.*Shallue.*read_folder"):
        measure(f"{header}\n{','.join(cells[name] for name in header.split(','))}\n")


def test_the_words_of_shallue_in_place_of_steps_are_refused():
    with pytest.raises(InputError, match="Shallue"):
        measure("batch_size,steps\n8,500\n16,INCOMPLETE\n")


def test_codes_in_place_of_steps_are_never_numbers_of_steps():
    text = "batch_size,steps,max_steps\n8,500,900\n16,-1,900\n32,-2,900\n"
    assert rows(text) == [(8, 500, False), (16, 900, True)]


def test_words_in_place_of_steps_are_read():
    assert rows("batch_size,steps,max_steps\n8,incomplete,900\n") == [(8, 900, True)]


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ("-1", "reached"),
        ("-1", "diverged"),
        ("-2", "reached"),
        ("-2", "not_reached"),
        ("infeasible", "complete"),
    ],
)
def test_a_status_that_contradicts_the_steps_is_refused(steps, status):
    with pytest.raises(InputError, match="contradict"):
        measure(f"batch_size,steps,status,max_steps\n8,{steps},{status},900\n")


def test_minus_one_beside_capped_takes_the_bound_from_max_steps():
    assert rows("batch_size,steps,status,max_steps\n8,-1,capped,300\n") == [(8, 300, True)]


def test_a_blank_status_is_refused_and_its_row_named():
    with pytest.raises(InputError, match="row 2 below the header, column 'status': got ''"):
        measure("batch_size,steps,status\n8,500,reached\n16,300,\n")


def test_an_unknown_status_is_refused_with_the_allowed_ones():
    with pytest.raises(InputError, match=r"got 'done'.*reached.*not_reached.*diverged"):
        measure("batch_size,steps,status\n8,500,done\n")


@pytest.mark.parametrize("cell", ["", "nan", "0", "-3", "inf"])
def test_a_reached_row_needs_a_positive_number_of_steps(cell):
    with pytest.raises(InputError, match=r"column 'steps'.*positive number of steps, or -1 where the goal"):
        measure(f"batch_size,steps\n8,{cell}\n")


def test_a_missed_goal_without_a_bound_is_refused():
    with pytest.raises(InputError, match=r"a column 'max_steps', or one number for all with .*--max-steps"):
        measure("batch_size,steps\n8,-1\n")


def test_the_bound_of_the_call_serves_rows_that_have_none():
    text = "batch_size,steps,max_steps\n8,-1,\n16,-1,700\n32,did not reach,\n64,100,\n"
    assert rows(text, max_steps=900) == [(8, 900, True), (16, 700, True), (32, 900, True), (64, 100, False)]


@pytest.mark.parametrize("cell", ["8055,8", "1,024", "8.055,8"])
def test_a_number_with_a_comma_is_refused_with_how_to_write_it(cell):
    table = pd.DataFrame({"batch_size": ["8"], "steps": [cell]})
    with pytest.raises(InputError, match="without separators of thousands and with a decimal point"):
        measure_steps(table, find_columns(table))


@pytest.mark.parametrize("cell", ["0", "-8", "inf", "eight", ""])
def test_a_batch_size_that_is_none_is_refused(cell):
    with pytest.raises(InputError, match=r"column 'batch_size'.*finite number above 0"):
        measure(f"batch_size,steps\n{cell},500\n")


def test_trials_become_the_lowest_step_of_those_that_reached_the_goal():
    text = (
        "batch_size,trial,steps,status,max_steps\n"
        "8,0,700,reached,900\n8,1,500,reached,900\n8,2,,not_reached,900\n8,3,,diverged,900\n"
    )
    found = measure(text)
    assert rows(text) == [(8, 500, False)]
    assert found.level == "trials"


def test_trials_that_all_missed_the_goal_become_the_lowest_bound():
    text = "batch_size,trial,steps,status,max_steps\n8,0,,not_reached,900\n8,1,,capped,600\n"
    assert rows(text) == [(8, 600, True)]


def test_the_minimum_over_trials_is_taken_within_each_replicate():
    text = "batch_size,replicate,trial,steps\n8,a,0,700\n8,a,1,500\n8,b,0,510\n8,b,1,800\n"
    found = measure(text)
    assert rows(text) == [(8, 500, False), (8, 510, False)]
    assert list(found.table.columns) == ["batch_size", "steps", "censored", "eval_interval"]


def test_trials_of_different_groups_are_kept_apart():
    found = measure("sparsity,batch_size,trial,steps\n0,8,0,700\n0.9,8,0,900\n0,8,1,600\n")
    assert [(group["sparsity"], list(rows.steps)) for group, rows in found.groups()] == [
        (0.0, [600]),
        (0.9, [900]),
    ]


def test_studies_with_diverged_trials_only_are_named():
    text = (
        "sparsity,batch_size,trial,steps,status\n"
        "0,8,0,700,reached\n0,8,1,750,reached\n0,16,0,,diverged\n0,16,1,,diverged\n0.9,8,0,,diverged\n0.9,8,1,900,reached\n"
    )
    found = measure(text)
    assert found.warnings == (
        "3 diverged rows were counted, not fitted",
        "every trial diverged, so these studies are left out: sparsity 0.0, batch_size 16.0",
    )
    assert list(found.table.steps) == [700, 900]


def test_a_table_of_diverged_rows_is_refused():
    with pytest.raises(InputError, match="all 2 rows diverged"):
        measure("batch_size,steps\n8,-2\n16,-2\n")


def test_rows_that_repeat_another_are_merged_and_counted():
    found = measure("batch_size,steps\n8,500\n8,500\n16,300\n")
    assert len(found.table) == 2
    assert found.warnings == ("1 rows repeat another row exactly and were merged",)


@pytest.mark.parametrize("name", ["lr", "Learning Rate", "weight_decay", "config.lr", "params_momentum"])
def test_settings_without_a_column_of_trials_count_as_trials(name):
    text = f"batch_size,{name},steps\n8,.1,700\n8,.2,500\n16,.1,300\n16,.2,400\n"
    found = measure(text)
    assert list(found.table.steps) == [500, 300]
    assert found.warnings == (
        f"rows that differ in {name!r} count as trials, and the lowest steps of a batch size as its "
        f"steps-to-result; for a curve each, group by them: --by {shlex.quote(name)}",
    )


def test_settings_are_the_combination_of_metaparameters():
    text = "batch_size,lr,momentum,steps\n8,.1,0,700\n8,.1,.9,500\n8,.2,0,600\n8,.1,.9,500\n"
    assert list(measure(text).table.steps) == [500]


def test_a_winner_beside_each_batch_size_is_no_trial():
    found = measure("batch_size,lr,steps\n8,.1,700\n16,.2,500\n")
    assert (found.level, found.warnings) == ("steps-to-result", ())


def test_settings_that_group_are_no_trials():
    found = measure("batch_size,lr,steps\n8,.1,700\n8,.2,500\n", by=["lr"])
    assert list(found.table.steps) == [700, 500]


def test_a_column_of_empty_trials_is_none():
    found = measure("batch_size,trial,lr,steps\n8,,.1,700\n8,,.2,500\n")
    assert list(found.table.steps) == [500]
    assert measure("batch_size,trial,steps\n8,,700\n16,,500\n").level == "steps-to-result"


@pytest.mark.parametrize("column", ["", "trial", "replicate"])
def test_rows_that_disagree_about_one_study_trial_or_replicate_are_refused(column):
    name, cell = (f",{column}", ",0") if column else ("", "")
    message = r"rows 1, 2 below the header disagree.*batch_size 8.*'trial', of which the lowest.*'seed', of"
    with pytest.raises(InputError, match=message):
        measure(f"batch_size,steps{name}\n8,500{cell}\n8,600{cell}\n")


def test_the_evaluation_interval_comes_from_the_column_or_the_call():
    text = "batch_size,steps,eval_interval\n8,500,10\n16,300,\n"
    interval = measure(text).table.eval_interval
    assert interval[0] == 10
    assert np.isnan(interval[1])
    assert list(measure(text, eval_interval=16).table.eval_interval) == [16, 16]


UNFINISHED = """batch_size,steps,status,max_steps,unfinished
8,500,reached,900,0
16,300,reached,900,2
32,,not_reached,126,30
64,,not_reached,900,0
"""


def test_studies_whose_trials_still_run_are_named_and_left_out_where_nothing_is_known():
    found = measure(UNFINISHED)
    assert list(found.table["batch_size"]) == [8, 16, 64]
    assert any("1 studies have trials that have not ended" in text for text in found.warnings)
    assert any("left out: batch_size 32" in text for text in found.warnings)


def test_trials_of_a_study_that_still_runs_say_nothing_but_what_was_reached():
    text = "batch_size,trial,steps,status,max_steps,unfinished\n"
    text += "8,0,500,reached,900,2\n8,1,,capped,400,2\n16,0,,capped,126,2\n16,1,,capped,126,2\n"
    found = measure(text)
    assert found.table[["batch_size", "steps"]].values.tolist() == [[8, 500]]
    assert any("1 studies have trials that have not ended" in text for text in found.warnings)
    assert any(text.endswith("left out: batch_size 16.0") for text in found.warnings)


def test_a_sweep_that_has_only_begun_is_not_fitted():
    with pytest.raises(InputError, match="no study is finished or has a trial that reached its goal"):
        measure("batch_size,steps,status,max_steps,unfinished\n32,,not_reached,126,30\n")


FEWER_TRIALS = ["batch_size,steps,trial", *(f"8,{500 + t},{t}" for t in range(4)), "16,300,0", "16,290,1"]


@pytest.mark.parametrize(
    "text", ["\n".join(FEWER_TRIALS), "batch_size,steps,trials\n8,500,4\n16,290,2\n"], ids=["trials", "steps"]
)
def test_a_study_that_searched_less_than_another_is_told_of(text):
    assert "studies have 2 to 4 trials" in "\n".join(measure(text).warnings)


@pytest.mark.parametrize(
    "text",
    [
        "batch_size,steps,trials\n8,500,20\n16,290,18\n",
        "batch_size,steps,trial,replicate\n8,500,0,0\n8,510,1,0\n8,500,0,1\n8,520,1,1\n16,290,0,0\n16,280,1,0\n",
        "batch_size,steps\n8,500\n16,290\n",
    ],
    ids=["nearly as many", "replicates", "not said"],
)
def test_studies_that_searched_alike_are_not(text):
    assert not any("trials" in warning for warning in measure(text).warnings)


@pytest.mark.parametrize("cell", ["inf", "0", "-3", "nan", "many", ""])
def test_a_number_of_trials_that_is_none_is_not_compared(cell):
    found = measure(f"batch_size,steps,trials\n8,500,20\n16,290,{cell}\n")
    assert list(found.table.steps) == [500, 290]
    assert not any("trials" in warning for warning in found.warnings)


EMPTY_TRIALS = "batch_size,steps,trials,trial\n8,500,4,\n16,290,2,\n"
JOINED = "model,batch_size,steps,trials,trial\na,8,500,2,\nb,8,290,,0\nb,8,300,,1\n"


def test_numbers_of_trials_count_where_no_trial_is_named():
    assert "studies have 2 to 4 trials" in "\n".join(measure(EMPTY_TRIALS).warnings)
    assert measure(JOINED).warnings == ()


def test_a_study_that_tried_fewer_settings_is_told_of():
    text = "batch_size,lr,steps\n8,.1,700\n8,.2,500\n8,.3,800\n16,.1,300\n"
    assert "studies have 1 to 3 trials" in "\n".join(measure(text).warnings)


def test_an_empty_cell_of_a_group_leaves_the_numbers_of_the_others_equal():
    text = "batch_size,steps,sparsity\n8,900,0.9\n16,500,0.90\n8,400,0\n16,300,0.0\n8,700,\n"
    groups = [(key["sparsity"], len(rows)) for key, rows in measure(text).groups()]
    assert groups == [(0.9, 2), (0, 2), ("", 1)]
