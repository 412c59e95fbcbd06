"""The layout of Shallue et al.: ``dataset/model/optimizer/batch_size/TRIAL/``, a validation curve a trial.

Their COMPLETE says that a trial ran to its end, not that it reached a goal: that is decided from its curve,
under a goal chosen afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sparsefit.errors import InputError
from sparsefit.fitting.json_fields import as_number, as_object, as_text, needed, read_json
from sparsefit.fitting.layout_files import (
    METAPARAMETERS,
    NOTE,
    Row,
    as_whole,
    named,
    note,
    parameters,
    read_note,
    read_parameters,
    with_parameters,
    write_json,
)

if TYPE_CHECKING:
    from sparsefit.fitting.layouts import Curves, Goal

CODES = {"reached": "COMPLETE", "not_reached": "COMPLETE", "capped": "INCOMPLETE", "diverged": "INFEASIBLE"}
SCALES = {
    "learning_rate": "LOG_SCALE",
    "momentum": "REVERSE_LOG_SCALE",
    "end_learning_rate_factor": "LOG_SCALE",
}
OBJECTIVE = "val/classification_error"
BOUND = "bound"
"""Field of the note of a trial whose measurements are a bound in place of its curve."""


def read_study(path: Path, content: Mapping[str, Any], goal: Goal) -> list[Row]:
    """Return the trials of one study, given its ``study.json``; INCOMPLETE ones are left out."""
    with named(path):
        names = {key: as_text(needed(content, key, ""), key) for key in ("dataset", "model", "optimizer")}
        size = as_whole(needed(content, "batch_size", ""), "batch_size")
    study = {"workload": "-".join(names.values()), **names, "schedule": None, "batch_size": size}
    rows = []
    for metadata in sorted(path.parent.glob("*/metadata.json")):
        row = read_trial(metadata, study, goal)
        if row is not None:
            rows.append(row)
    return rows


def read_trial(path: Path, study: Row, goal: Goal) -> Row | None:
    """Return one trial, or None if it stopped for a reason that says nothing about the goal."""
    content = as_object(read_json(path), str(path))
    with named(path):
        code = as_text(needed(content, "status", ""), "status").upper()
        trial = as_whole(needed(content, "trial_id", ""), "trial_id", 0)
        setting = read_parameters(content)
        own = read_note(content)
        if own.get(BOUND):
            as_number(needed(own, "goal_error", NOTE), f"{NOTE}.goal_error")
    if code not in CODES.values():
        raise InputError(f"{path}: status is {content['status']!r}, allowed COMPLETE, INCOMPLETE, INFEASIBLE")
    if code == "INCOMPLETE" and own.get("status") != "capped":
        return None
    error = goal.error if goal.error is not None else own.get("goal_error")
    if error is None:
        raise InputError(
            f"{path} is in Shallue's layout, which has curves and no goal: give one, e.g. --goal-error 0.02"
        )
    comparison = own.get("comparison", goal.comparison)
    known = {"goal_error": error, "comparison": comparison, "sparsity": own.get("sparsity", 0.0)}
    row = study | known | {"trial": trial}
    if own.get(BOUND) and error != own.get("goal_error"):
        raise InputError(
            f"{path}: this trial was written without its curve, so that only its own goal, "
            f"{own['goal_error']:g}, can be judged: leave out --goal-error, or write the folder anew of a "
            "sweep with --full-curves"
        )
    # Theirs have no result if INFEASIBLE; ours count where the curve met the goal before it ended.
    if code != "INFEASIBLE" or (own and not own.get(BOUND)):
        row |= outcome(path, error, comparison, goal.objective)
    if code == "INFEASIBLE" and row.get("status") != "reached":
        row |= {"status": "diverged", "steps": None, "max_steps": None, "eval_interval": None}
    elif code == "INCOMPLETE" and row["status"] != "reached":
        row |= {"status": "capped", "max_steps": own.get("max_steps", row["max_steps"])}
    if goal.error is None:
        row["max_steps"] = own.get("max_steps", row["max_steps"])
        row["eval_interval"] = own.get("eval_interval", row["eval_interval"])
    row["workload"], row["schedule"] = own.get("workload", row["workload"]), own.get("schedule")
    row |= {name: value for name, value in own.items() if name not in row and name != BOUND}
    return with_parameters(row, setting)


def outcome(path: Path, error: float, comparison: str, objective: str) -> Row:
    """Decide from the curve whether and when the goal was reached."""
    curve = read_curve(path.with_name("measurements.csv"), objective)
    values = curve[objective]
    passed = (values <= error) if comparison == "<=" else (values < error)
    last = int(curve["step"].iloc[-1])
    if not passed.any():
        steps, interval = None, curve["step"].diff().iloc[-1]
    else:
        position = int(passed.to_numpy().argmax())
        steps = int(curve["step"].iloc[position])
        interval = steps - (int(curve["step"].iloc[position - 1]) if position else 0)
    return {
        "status": "not_reached" if steps is None else "reached",
        "steps": steps,
        "max_steps": last,
        "eval_interval": None if pd.isna(interval) else int(interval),
    }


def read_curve(path: Path, objective: str) -> pd.DataFrame:
    """Return step and objective of a ``measurements.csv``, by ascending step, step 0 left out."""
    try:
        # As text: some versions of pandas read numbers that are off in the last bit, and a goal may be one.
        curve = pd.read_csv(path, usecols=lambda name: name in ("step", objective), dtype=str)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is not a table of measurements: {error}") from error
    for name in ("step", objective):
        if name not in curve.columns:
            raise InputError(f"{path} has no column {name!r}; another objective can be named")
        try:
            curve[name] = curve[name].astype(float)
        except ValueError as error:
            raise InputError(f"{path}: the column {name!r} holds something other than numbers") from error
    if (curve["step"] % 1 != 0).any():
        raise InputError(f"{path}: the column 'step' holds something other than whole numbers")
    curve = curve[curve["step"] > 0].sort_values("step", ignore_index=True)
    if curve.empty:
        raise InputError(f"{path} holds no measurement after step 0")
    return curve


def write_study(
    folder: Path,
    rows: list[Row],
    search_space: Mapping[str, Mapping[str, Any]] | None,
    curves: Curves | None,
) -> None:
    """Write one study; the sparsity, which their layout has no place for, becomes the top folder."""
    first = rows[0]
    names = [str(first[key]) for key in ("dataset", "model", "optimizer")]
    top = f"{first['workload']}-sparsity-{first['sparsity']:g}"
    study = folder.joinpath(top, *names, str(first["batch_size"]))
    write_json(
        study / "study.json",
        {
            "batch_size": first["batch_size"],
            "dataset": first["dataset"],
            "model": first["model"],
            "optimizer": first["optimizer"],
            "train_steps": max(row["max_steps"] for row in rows),
            "early_stopping": True,
            "parameter_configs": search_space or found_space(rows),
        },
    )
    for row in rows:
        trial = study / str(row["trial"])
        last = row["steps"] if row["status"] == "reached" else row["max_steps"]
        curve = curves(row["sparsity"], row["batch_size"], row["trial"]) if curves else None
        write_json(
            trial / "metadata.json",
            {
                "parameters": parameters(row),
                "status": CODES[row["status"]],
                "steps": last,
                "trial_id": row["trial"],
                NOTE: note(row) | ({BOUND: True} if curve is None else {}),
            },
        )
        (bound(row, last) if curve is None else curve).to_csv(trial / "measurements.csv", index=False)


def bound(row: Row, last: int) -> pd.DataFrame:
    """Return the one check that is known, with the nearest number on its side of the goal for its error."""
    towards = 0.0 if row["status"] == "reached" else 1.0
    value = math.nan if row["status"] == "diverged" else math.nextafter(row["goal_error"], towards)
    return pd.DataFrame({"step": [last], OBJECTIVE: [value]})


def found_space(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Return the ranges that the trials' values span."""
    space = {}
    for name in METAPARAMETERS:
        values = [row[name] for row in rows if row.get(name) is not None]
        if values:
            kind = "INTEGER" if all(float(value).is_integer() for value in values) else "DOUBLE"
            scale = SCALES.get(name, "LINEAR_SCALE")
            space[name] = {"min_value": min(values), "max_value": max(values), "scale": scale, "type": kind}
    return space
