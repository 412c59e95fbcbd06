"""The layout of the paper's release: one working folder a study, results without curves.

``study.json``, ``metaparameters.json`` {name: list over trials} and ``run-N/batch-science/metadata.json``
{parameters, steps-to-result, status}; -1 and -2 stand for incomplete and infeasible.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefit.errors import InputError
from sparsefit.fitting.json_fields import as_list, as_number, as_object, as_text, needed, read_json
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
    from sparsefit.fitting.layouts import Goal

STATUS = {"complete": "reached", "incomplete": "not_reached", "infeasible": "diverged"}
CODES = {"reached": "complete", "not_reached": "incomplete", "capped": "incomplete", "diverged": "infeasible"}
NUMBERS = {"incomplete": -1, "infeasible": -2}

PARAMETER_CONFIGS = {
    "learning_rate": {"max_value": 1.0, "min_value": 0.0001, "scale": "LOG_SCALE", "type": "DOUBLE"},
    "momentum": {"max_value": 0.9999, "min_value": 0.9, "scale": "REVERSE_LOG_SCALE", "type": "DOUBLE"},
    "decay_steps": {"max_value": 60000, "min_value": 30000, "scale": "", "type": "INTEGER"},
    "end_learning_rate_factor": {
        "max_value": 0.1,
        "min_value": 0.0001,
        "scale": "LOG_SCALE",
        "type": "DOUBLE",
    },
}
"""What the release writes into every ``study.json``, whatever the study searches."""


def read_study(path: Path, content: Mapping[str, Any], goal: Goal) -> list[Row]:
    """Return the trials of one working folder, given its ``study.json``; runs that did not end have none."""
    with named(path):
        names = {key: as_text(needed(content, key, ""), key) for key in ("dataset", "model", "optimizer")}
        kinds = as_list(needed(content, "mparams_kind", ""), "mparams_kind")
        study = {
            "workload": "-".join(names.values()),
            **names,
            "schedule": "linear" if "decay_steps" in kinds else "constant",
            "goal_error": as_number(needed(content, "goal_error", ""), "goal_error"),
            "comparison": "<=",
            "sparsity": as_number(needed(content, "sparsity", ""), "sparsity"),
            "batch_size": as_whole(needed(content, "batch_size", ""), "batch_size"),
        }
        interval = as_whole(needed(content, "check_interval", ""), "check_interval")
    if goal.error not in (None, study["goal_error"]):
        raise InputError(
            f"{path}: the release's layout keeps the steps to its own goal, {study['goal_error']:g}, and no "
            "curves: leave out --goal-error"
        )
    rows = []
    for run in path.parent.glob("run-*"):
        metadata = run / "batch-science" / "metadata.json"
        match = re.fullmatch(r"run-(\d+)", run.name)
        if match and metadata.exists():
            rows.append(read_trial(metadata, int(match[1]), study, interval, goal))
    return rows


def read_trial(path: Path, trial: int, study: Row, interval: int, goal: Goal) -> Row:
    """Return one trial of a study."""
    content = as_object(read_json(path), str(path))
    with named(path):
        word = as_text(needed(content, "status", ""), "status").lower()
        number = as_whole(needed(content, "steps-to-result", ""), "steps-to-result", min(NUMBERS.values()))
        own = read_note(content)
        setting = read_parameters(content)
    if word not in STATUS:
        raise InputError(f"{path}: status is {content['status']!r}, allowed {', '.join(STATUS)}")
    if (word == "complete") != (number > 0) or number != NUMBERS.get(word, number):
        raise InputError(f"{path}: status {word} does not go with steps-to-result {number}")
    status = STATUS[word]
    if status == "not_reached" and own.get("status") == "capped":
        status = "capped"
    row = study | {
        "trial": trial,
        "status": status,
        "steps": number if word == "complete" else None,
        "max_steps": own.get("max_steps", goal.max_steps),
        "eval_interval": interval,
    }
    row |= {
        name: value for name, value in own.items() if name not in row or name in ("workload", "comparison")
    }
    return with_parameters(row, setting)


def write_study(folder: Path, rows: list[Row]) -> None:
    """Write the trials of one study into ``WORKLOAD/sparsity-S/batch-size-B`` below the folder."""
    first = rows[0]
    study = (
        folder / first["workload"] / f"sparsity-{first['sparsity']:g}" / f"batch-size-{first['batch_size']}"
    )
    kinds = [name for name in METAPARAMETERS if any(row.get(name) is not None for row in rows)]
    runs = max(row["trial"] for row in rows) + 1
    by_trial = {row["trial"]: row for row in rows}
    write_json(
        study / "study.json",
        {
            "sparsity": first["sparsity"],
            "batch_size": first["batch_size"],
            "goal_error": first["goal_error"],
            "nruns": runs,
            "check_interval": first["eval_interval"],
            "mparams_kind": kinds,
            "dataset": first["dataset"],
            "model": first["model"],
            "optimizer": first["optimizer"],
            "parameter_configs": PARAMETER_CONFIGS,
        },
    )
    values = {name: [by_trial.get(trial, {}).get(name) for trial in range(runs)] for name in kinds}
    write_json(study / "metaparameters.json", values)
    for row in rows:
        code = CODES[row["status"]]
        write_json(
            study / f"run-{row['trial']}" / "batch-science" / "metadata.json",
            {
                "parameters": parameters(row),
                "steps-to-result": NUMBERS.get(code, row["steps"]),
                "status": code,
                NOTE: note(row),
            },
        )
