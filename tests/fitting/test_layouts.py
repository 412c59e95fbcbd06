import json
import math

import pandas as pd
import pytest

from sparsefit.errors import InputError
from sparsefit.fitting.layout_files import NOTE
from sparsefit.fitting.layouts import LEADING, Goal, read_folder, write_folder


def trials(comparison="<=", goal_error=0.02):
    """Make a trials table in which every status occurs in every study."""
    ends = [
        ("reached", 160, 40_000),
        ("reached", 144, 40_000),
        ("capped", None, 144),
        ("diverged", None, 40_000),
    ]
    rows = []
    for sparsity in (0.0, 0.9):
        for batch_size in (16, 32):
            for trial, (status, steps, max_steps) in enumerate([*ends, ("not_reached", None, 40_000)]):
                values = (
                    "w2",
                    "mnist",
                    "simple-cnn",
                    "momentum",
                    "constant",
                    goal_error,
                    comparison,
                    sparsity,
                )
                row = dict(
                    zip(LEADING, (*values, batch_size, trial, status, steps, max_steps, 16), strict=True)
                )
                row |= {"learning_rate": 0.01 * (trial + 1), "momentum": 0.9 + trial / 1000}
                rows.append(row | {"init_seed": trial, "seconds": 1.5})
    table = pd.DataFrame(rows)
    for name in ("batch_size", "trial", "steps", "max_steps", "eval_interval"):
        table[name] = table[name].astype("Int64")
    return table


@pytest.mark.parametrize("comparison", ["<=", "<"])
@pytest.mark.parametrize("layout", ["release", "shallue"])
def test_a_table_survives_the_folders_and_back(layout, comparison, tmp_path):
    table = trials(comparison if layout == "shallue" else "<=")
    assert write_folder(table, tmp_path / "out", layout) == 4
    found = read_folder(tmp_path / "out")
    assert list(found.columns[: len(LEADING)]) == list(LEADING)
    pd.testing.assert_frame_equal(found[table.columns], table, check_like=False)


def test_release_folders_hold_its_words_and_numbers(tmp_path):
    write_folder(trials(), tmp_path, "release")
    study = tmp_path / "w2" / "sparsity-0.9" / "batch-size-32"
    content = json.loads((study / "study.json").read_text())
    assert list(content["parameter_configs"]) == [
        "learning_rate",
        "momentum",
        "decay_steps",
        "end_learning_rate_factor",
    ]
    assert content["mparams_kind"] == ["learning_rate", "momentum"]
    assert (content["nruns"], content["check_interval"], content["goal_error"]) == (5, 16, 0.02)
    assert json.loads((study / "metaparameters.json").read_text())["momentum"][2] == 0.902
    words = []
    for trial in range(5):
        run = json.loads((study / f"run-{trial}" / "batch-science" / "metadata.json").read_text())
        words.append((run["status"], run["steps-to-result"]))
    assert words == [
        ("complete", 160),
        ("complete", 144),
        ("incomplete", -1),
        ("infeasible", -2),
        ("incomplete", -1),
    ]


def test_shallues_folders_give_the_same_steps_by_their_rule(tmp_path):
    write_folder(trials(), tmp_path, "shallue")
    study = tmp_path / "w2-sparsity-0.9" / "mnist" / "simple-cnn" / "momentum" / "16"
    assert sorted(path.name for path in study.iterdir() if path.is_dir()) == ["0", "1", "2", "3", "4"]
    curves = {}
    for path in study.glob("*/metadata.json"):
        content = json.loads(path.read_text())
        if content["status"] == "COMPLETE":  # the only ones that their loader takes
            curves[content["trial_id"]] = pd.read_csv(path.with_name("measurements.csv"), index_col="step")
    table = pd.concat(curves, names=["trial_id"])
    good = table[table["val/classification_error"] < 0.02].sort_index(level=["step", "trial_id"])
    assert good.index[0] == (1, 144)


def put_release(folder, runs, **changes):
    study = {
        "sparsity": 0.9,
        "batch_size": 64,
        "goal_error": 0.12,
        "nruns": len(runs),
        "check_interval": 100,
        "mparams_kind": ["learning_rate", "decay_steps"],
        "dataset": "fashion-mnist",
        "model": "simple-cnn",
        "optimizer": "sgd",
        **changes,
    }
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps(study))
    for number, (status, steps) in enumerate(runs):
        path = folder / f"run-{number}" / "batch-science" / "metadata.json"
        path.parent.mkdir(parents=True)
        content = {"parameters": {"learning_rate": 0.1, "decay_steps": 30_000}}
        path.write_text(json.dumps({**content, "steps-to-result": steps, "status": status}))


def test_the_releases_own_folders_are_read(tmp_path):
    put_release(tmp_path / "a", [("complete", 300), ("incomplete", -1), ("infeasible", -2)])
    put_release(tmp_path / "b", [("Complete", 200)], batch_size=128)
    (tmp_path / "a" / "run-3").mkdir()  # a run that was interrupted
    table = read_folder(tmp_path, Goal(max_steps=40_000))
    assert table["status"].tolist() == ["reached", "not_reached", "diverged", "reached"]
    assert table["steps"].tolist() == [300, pd.NA, pd.NA, 200]
    assert table["max_steps"].tolist() == [40_000] * 4
    assert set(table["schedule"]) == {"linear"}
    assert set(table["comparison"]) == {"<="}
    assert table["decay_steps"].tolist() == [30_000] * 4
    assert read_folder(tmp_path)["max_steps"].isna().all()


def put_shallue(folder, curves, status="COMPLETE", batch_size=256):
    folder.mkdir(parents=True)
    study = {"batch_size": batch_size, "dataset": "mnist", "model": "simple_cnn_base", "optimizer": "sgd"}
    (folder / "study.json").write_text(json.dumps(study))
    for number, curve in enumerate(curves, start=1):
        trial = folder / str(number)
        trial.mkdir()
        metadata = {"parameters": {"learning_rate": 0.1}, "status": status, "steps": 8, "trial_id": number}
        (trial / "metadata.json").write_text(json.dumps(metadata | {"_internal_x": 1}))
        lines = ["step,train/classification_error,val/classification_error,val/cross_entropy_error"]
        lines += [f"{step},0,{error},{error * 3}" for step, error in curve]
        (trial / "measurements.csv").write_text("\n".join(lines))


CURVES = [[(0, 0.9), (2, 0.5), (8, 0.01), (4, 0.02)], [(2, 0.5), (4, 0.3)], [(2, float("nan")), (4, 0.001)]]


@pytest.mark.parametrize(("comparison", "steps"), [("<", [8, None, 4]), ("<=", [4, None, 4])])
def test_shallues_curves_are_cut_by_the_goal(comparison, steps, tmp_path):
    put_shallue(tmp_path / "mnist" / "simple_cnn_base" / "sgd" / "256", CURVES)
    table = read_folder(tmp_path, Goal(0.02, comparison))
    assert [None if pd.isna(step) else step for step in table["steps"]] == steps
    assert table["status"].tolist() == ["reached", "not_reached", "reached"]
    assert table["max_steps"].tolist() == [8, 4, 4]
    assert table["eval_interval"].tolist() == [4 if comparison == "<" else 2, 2, 2]
    assert set(table["sparsity"]) == {0.0}


def test_another_objective_can_be_named(tmp_path):
    put_shallue(tmp_path / "256", CURVES)
    table = read_folder(tmp_path, Goal(1.6, objective="val/cross_entropy_error"))
    assert table["steps"].tolist() == [2, 2, 4]


def test_shallues_incomplete_trials_are_left_out_and_infeasible_ones_diverged(tmp_path):
    put_shallue(tmp_path / "16", CURVES, "INCOMPLETE", 16)
    put_shallue(tmp_path / "32", CURVES, "INFEASIBLE", 32)
    table = read_folder(tmp_path, Goal(0.02))
    assert table["batch_size"].tolist() == [32] * 3
    assert set(table["status"]) == {"diverged"}
    assert table["steps"].isna().all()


def test_recorded_curves_are_exported_and_found_again(tmp_path):
    table = trials().iloc[:2]
    curve = pd.DataFrame({"step": [128, 144, 160], "val/classification_error": [0.03, 0.025, 0.02]})
    write_folder(
        table, tmp_path, "shallue", curves=lambda sparsity, size, trial: curve if trial == 0 else None
    )
    assert read_folder(tmp_path)["steps"].tolist() == [160, 144]
    assert read_folder(tmp_path, Goal(0.02, "<="))["steps"].tolist() == [160, 144]
    with pytest.raises(InputError, match="without its curve"):
        read_folder(tmp_path, Goal(0.026))
    write_folder(table.iloc[:1], tmp_path / "first", "shallue", curves=lambda *_: curve)
    assert read_folder(tmp_path / "first", Goal(0.026))["steps"].tolist() == [144]


@pytest.mark.parametrize("trial", [2, 3], ids=["capped", "diverged"])
def test_own_trials_that_ended_early_count_where_their_curve_meets_another_goal(trial, tmp_path):
    curve = pd.DataFrame({"step": [112, 128, 144], "val/classification_error": [0.5, 0.1, 0.3]})
    write_folder(trials().iloc[[trial]], tmp_path, "shallue", curves=lambda *_: curve)
    assert read_folder(tmp_path, Goal(0.1))["steps"].tolist() == [128]
    assert read_folder(tmp_path, Goal(0.05))["status"].tolist() == [trials()["status"][trial]]
    assert read_folder(tmp_path)["status"].tolist() == [trials()["status"][trial]]


@pytest.mark.parametrize("goal", [math.nan, math.inf])
def test_a_goal_of_another_objective_is_finite(goal):
    with pytest.raises(InputError, match="allowed a finite number"):
        Goal(goal, objective="val/cross_entropy_error")


def damage(folder, what):
    study, trial = folder / "256" / "study.json", folder / "256" / "1"
    if what == "not json":
        study.write_text("{")
    elif what == "a list":
        study.write_text("[]")
    elif what == "no key":
        study.write_text(json.dumps({"dataset": "mnist"}))
    elif what == "text":
        study.write_text(study.read_text().replace("256", '"many"'))
    elif what == "status":
        (trial / "metadata.json").write_text(
            (trial / "metadata.json").read_text().replace("COMPLETE", "DONE")
        )
    elif what == "no curve":
        (trial / "measurements.csv").unlink()
    elif what == "empty curve":
        (trial / "measurements.csv").write_text("")
    elif what == "other curve":
        (trial / "measurements.csv").write_text("step,loss\n1,2\n")
    elif what == "words":
        (trial / "measurements.csv").write_text("step,val/classification_error\n1,low\n")
    elif what == "half a step":
        (trial / "measurements.csv").write_text("step,val/classification_error\n1,0.1\ninf,0.1\n")


@pytest.mark.parametrize(
    ("what", "part"),
    [
        ("not json", r"study\.json is not JSON"),
        ("a list", r"study\.json: got \[\], allowed an object"),
        ("no key", r"study\.json: model is missing"),
        ("text", r"study\.json: batch_size: got 'many', allowed a whole number"),
        ("status", "status is 'DONE', allowed COMPLETE"),
        ("no curve", r"measurements\.csv cannot be read"),
        ("empty curve", "is not a table of measurements"),
        ("other curve", "has no column 'val/classification_error'"),
        ("words", "something other than numbers"),
        ("half a step", "something other than whole numbers"),
    ],
)
def test_a_damaged_folder_is_refused_by_file(what, part, tmp_path):
    put_shallue(tmp_path / "256", CURVES)
    damage(tmp_path, what)
    with pytest.raises(InputError, match=part):
        read_folder(tmp_path, Goal(0.02))


@pytest.mark.parametrize(
    ("file", "key", "value", "said"),
    [
        ("study.json", "batch_size", "NaN", "batch_size: got nan, allowed a whole number"),
        ("study.json", "batch_size", "16.5", "batch_size: got 16.5, allowed a whole number"),
        ("study.json", "batch_size", "1" * 30, "allowed a whole number up to"),
        ("study.json", "model", "3", "model: got 3, allowed a string"),
        ("1/metadata.json", "trial_id", '"abc"', "trial_id: got 'abc', allowed a whole number"),
        ("1/metadata.json", "parameters", "[1]", r"parameters: got \[1\], allowed an object"),
        ("1/metadata.json", "parameters", '{"lr": NaN}', r"parameters\.lr: got nan, allowed a finite number"),
        ("1/metadata.json", NOTE, "[1]", rf"{NOTE}: got \[1\], allowed an object"),
        ("1/metadata.json", NOTE, '{"goal_error": "low"}', rf"{NOTE}\.goal_error: got 'low'"),
        ("1/metadata.json", NOTE, '{"bound": true}', rf"{NOTE}\.goal_error is missing"),
        ("1/metadata.json", "x", "[" * 100_000, "is not JSON"),
    ],
)
def test_a_wrong_field_is_refused_by_file_and_name(file, key, value, said, tmp_path):
    put_shallue(tmp_path / "256", CURVES)
    path = tmp_path / "256" / file
    content = {name: kept for name, kept in json.loads(path.read_text()).items() if name != key}
    path.write_text(f'{json.dumps(content)[:-1]}, "{key}": {value}}}')
    with pytest.raises(InputError, match=said) as caught:
        read_folder(tmp_path, Goal(0.02))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 64.5}, "batch_size: got 64.5, allowed a whole number"),
        ({"check_interval": 0}, "check_interval: got 0, allowed a whole number, 1 or more"),
        ({"mparams_kind": 3}, "mparams_kind: got 3, allowed a list"),
        ({"sparsity": None}, "sparsity: got None, allowed a finite number"),
    ],
)
def test_a_wrong_field_of_the_release_is_refused(change, said, tmp_path):
    put_release(tmp_path / "a", [("complete", 300)], **change)
    with pytest.raises(InputError, match=rf"study\.json: {said}"):
        read_folder(tmp_path)


def test_whole_numbers_with_a_point_are_read(tmp_path):
    put_release(tmp_path / "a", [("complete", 300.0)], batch_size=64.0)
    table = read_folder(tmp_path)
    assert (table["batch_size"][0], table["steps"][0]) == (64, 300)


@pytest.mark.parametrize(
    ("status", "steps"), [("complete", -1), ("incomplete", 100), ("infeasible", -1), ("done", 3)]
)
def test_a_status_that_contradicts_its_number_is_refused(status, steps, tmp_path):
    put_release(tmp_path / "a", [(status, steps)])
    with pytest.raises(InputError, match=r"does not go with|allowed complete"):
        read_folder(tmp_path)


def test_what_cannot_be_read_or_written_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no study\.json"):
        read_folder(tmp_path)
    put_shallue(tmp_path / "256", CURVES)
    with pytest.raises(InputError, match="--goal-error"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="is not empty"):
        write_folder(trials(), tmp_path, "shallue")
    with pytest.raises(InputError, match="allowed release, shallue"):
        write_folder(trials(), tmp_path / "new", "xml")
    with pytest.raises(InputError, match="no column 'status'"):
        write_folder(trials().drop(columns="status"), tmp_path / "new", "release")
