"""Inputs of a report put together: which rows are one group, and what is judged over all of them."""

import os

import pandas as pd
import pytest

from sparsefit.errors import InputError
from sparsefit.fitting.validation import validate
from sparsefit.report import catalogue
from sparsefit.report.material import combine
from sparsefit.report.processes import start_processes
from sparsefit.report.source import make_source
from sparsefit.report.style import render

SIZES = [2**k for k in range(1, 11)]


def rows(c1=20_000, c2=150, **columns):
    return pd.DataFrame({"batch_size": SIZES, "steps": [round(c1 / b + c2) for b in SIZES], **columns})


def source(table, name="t.csv", **options):
    return make_source(table, name, "table", name, **options)


def material(*tables, **options):
    return combine([source(table, f"{n}.csv", **options) for n, table in enumerate(tables)], {})


def trend(claims):
    (found,) = (claim for claim in claims if claim.name == "universal_trend")
    return found


def test_one_trend_is_judged_over_the_curves_of_all_goals_as_validate_does():
    tables = [
        rows(c1 * (1 + s), 150 * (1 + s), workload=name, goal_error=goal, sparsity=s)
        for name, goal, c1 in (("a", 0.02, 20_000), ("b", 0.1, 5_000), ("c", 0.2, 9_000))
        for s in (0.0, 0.5)
    ]
    shown = trend(material(*(pd.concat(tables[n : n + 2]) for n in (0, 2, 4))).validation.claims)
    assert "All 6 curves" in shown.reason
    assert shown == trend(validate(pd.concat(tables)).claims)


def test_a_column_called_source_splits_rows_as_any_other():
    table = pd.concat([rows(source="paper", model="m"), rows(40_000, 300, source="ours", model="m")])
    found = material(table, rows(workload="w"))
    assert [w.group.get("source") for w in found.workloads] == ["paper", "ours", None]
    assert [w.source.path for w in found.workloads] == ["0.csv", "0.csv", "1.csv"]
    assert [len(w.fits) for w in found.workloads] == [1, 1, 1]


@pytest.mark.parametrize("word", ["none", "NA", "nan", "null"])
def test_a_sparsity_that_is_missing_in_words_is_as_an_empty_one(word):
    table = pd.concat([rows(sparsity=word, model="m"), rows(40_000, sparsity="0.5", model="m")])
    found = material(table)
    assert [fit.group["sparsity"] for fit in found.validation.fit.fits] == ["", 0.5]
    for workload in found.workloads:
        for entry in catalogue.of_workload(workload, 1):
            frame = entry.gather()
            assert frame.empty or render(entry.draw, frame)


def test_columns_are_those_that_were_named():
    table = rows().rename(columns={"batch_size": "tokens", "steps": "k"})
    table = table.assign(batch_size=1, run="a").sample(frac=1, random_state=0)
    options = {"by": ["run"], "batch_column": "tokens", "steps_column": "k", "eval_interval": 5}
    (workload,) = material(table, **options).workloads
    assert workload.group == {"run": "a"}
    assert workload.steps["batch_size"].tolist() == SIZES
    assert set(workload.steps["eval_interval"]) == {5.0}
    with pytest.raises(InputError, match="--batch-column: got 'bs'"):
        material(table, batch_column="bs")
    with pytest.raises(InputError, match="eval_interval: got -1"):
        material(rows(), eval_interval=-1)


@pytest.mark.parametrize("name", ["seed", "Trial", "status", "max_steps", "censored", "batch_size"])
def test_columns_that_mean_something_else_can_split_too(name):
    table = pd.concat(
        [rows(c1).rename(columns={"batch_size": "B"}).assign(**{name: c1}) for c1 in (9e3, 3e4)]
    )
    found = material(table, by=[name], batch_column="B", steps_column="steps")
    assert [len(w.fits) for w in found.workloads] == [1, 1]
    assert len({fit.c1.value for fit in found.validation.fit.fits}) == 2


def test_rows_that_missed_the_goal_have_the_steps_that_were_given():
    table = rows()
    table.loc[0, "steps"] = -1
    with pytest.raises(InputError, match="max_steps"):
        material(table)
    (workload,) = material(table, max_steps=9_000).workloads
    assert workload.steps[["steps", "censored"]].iloc[0].tolist() == [9_000, True]


def test_a_column_that_is_not_among_those_named_does_not_split():
    table = rows(workload="w", sparsity=0.5, model="m")
    (workload,) = material(table, by=["model"]).workloads
    assert workload.group == {"model": "m"}
    assert workload.fits[0].group == {"workload": "", "model": "m"}


def test_workers_are_no_forks_of_a_process_with_threads_and_find_the_same():
    with start_processes(1) as pool:
        assert pool.submit(os.getppid).result() != os.getpid()
    sources = [source(rows(1000 * n, workload=f"w{n}", goal_error=n / 10), f"{n}.csv") for n in range(1, 6)]
    one, divided = (combine(sources, {}, processes=n).validation.to_dict() for n in (1, 2))
    assert divided == one
