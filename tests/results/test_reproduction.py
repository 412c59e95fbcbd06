"""What `results/` and the pages made of it say is what their data give, computed again."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from sparsefit import fit
from sparsefit.experiment.joined import join
from sparsefit.experiment.repeats import repeats_table
from sparsefit.experiment.tables import steps_table, trials_table
from sparsefit.fitting import decomposition_file
from sparsefit.fitting.reading import read_table
from sparsefit.fitting.validation import validate

RESULTS = Path(__file__).parents[2] / "results"
SWEPT = sorted(path.parent.name for path in RESULTS.glob("*/sweep.db"))
FITTED = sorted(path.parent.name for path in RESULTS.glob("*/fit.json"))


def close(ours, theirs):
    """Compare what two JSON files hold; numbers up to 1e-6, where optimizers stop on different CPUs."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(close(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, int | float):
        return ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)
    return ours == theirs


def load(path):
    return json.loads((RESULTS / path).read_text())


def counted_trials(name):
    """How many trials of each study the fit of a workload counts."""
    path = RESULTS / name / "counted.csv"
    return int(pd.read_csv(path)["trials"].max()) if path.exists() else 1


@pytest.fixture
def reproduction(monkeypatch):
    """The script that writes the pages."""
    monkeypatch.syspath_prepend(str(RESULTS))
    import reproduction

    return reproduction


def test_the_pages_say_what_the_tables_hold(reproduction):
    texts = reproduction.made()
    for page in reproduction.PAGES:
        text = page.read_text(encoding="utf-8")
        assert reproduction.fill(text, texts) == text, "run: make results"


def test_every_region_of_the_pages_is_made(reproduction):
    names = [
        name
        for page in reproduction.PAGES
        for _, name, _ in reproduction.REGION.findall(page.read_text(encoding="utf-8"))
    ]
    assert sorted(names) == sorted(reproduction.made())


@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.parametrize(
    ("table", "make", "counted"),
    [
        ("steps", steps_table, False),
        ("counted", steps_table, True),
        ("trials", trials_table, True),
        ("seeds", repeats_table, False),
    ],
)
def test_the_tables_are_those_of_the_sweeps(name, table, make, counted, tmp_path):
    first = counted_trials(name) if counted else None
    found = join(sorted((RESULTS / name).glob("sweep*.db")), make, finished=counted, first=first)
    path = RESULTS / name / f"{table}.csv"
    if found.empty:
        assert not path.exists()
        return
    found.to_csv(tmp_path / "table.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), pd.read_csv(path))


@pytest.mark.parametrize("name", SWEPT)
def test_a_finished_sweep_counts_as_a_whole(name):
    steps = pd.read_csv(RESULTS / name / "steps.csv")
    if (steps["unfinished"] == 0).all():
        assert counted_trials(name) == steps["trials"].max()


@pytest.mark.parametrize("name", FITTED)
def test_the_fits_come_out_again(name):
    path = RESULTS / name / "trials.csv"
    saved = load(f"{name}/fit.json")
    assert saved["input"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    again = json.loads(json.dumps(fit(path).to_dict()))
    assert close(again["fits"], saved["fits"])
    assert close(again["ratios"], saved["ratios"])


@pytest.mark.skipif(not FITTED, reason="no workload has two finished studies yet")
def test_the_verdicts_come_out_again():
    tables = [read_table(RESULTS / name / "trials.csv")[0] for name in FITTED]
    parts = [decomposition_file.load(path) for path in sorted(RESULTS.glob("*/decomposition.json"))]
    again = validate(pd.concat(tables, ignore_index=True).fillna(""), parts).to_dict()
    saved = load("validation.json")
    assert close(json.loads(json.dumps(again["claims"])), saved["claims"])
    assert again["counts"] == saved["counts"]


def test_the_time_of_a_small_sweep_is_that_of_its_trials():
    trials = pd.read_csv(RESULTS / "w1" / "trials.csv")
    small = trials[
        trials["batch_size"].between(32, 256) & (trials["trial"] < 8) & trials["sparsity"].isin([0, 0.9])
    ]
    assert len(small) == 4 * 2 * 8
    minutes = small["total_seconds"].sum() / 60
    text = (RESULTS.parent / "docs" / "sweeps.md").read_text(encoding="utf-8")
    assert f"--trials 8` takes {minutes:.0f} minutes of processor" in text


UNCAPPED = sorted(path.parent.name for path in RESULTS.glob("*/uncapped.db"))


@pytest.mark.parametrize("name", UNCAPPED)
def test_what_uncapped_trials_say_comes_out_again(name, tmp_path):
    path = RESULTS / name / "uncapped.csv"
    first = int(pd.read_csv(path)["trial"].max()) + 1
    found = join([path.with_suffix(".db")], trials_table, finished=True, first=first)
    found.to_csv(tmp_path / "table.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), pd.read_csv(path))
    assert close(
        json.loads(json.dumps(validate(path).to_dict()["claims"])), load(f"{name}/uncapped.json")["claims"]
    )
