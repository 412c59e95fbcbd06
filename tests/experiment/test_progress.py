import io

import pytest
from rich.console import Console

from sparsefit.experiment.progress import LiveReport, PlainReport, duration
from sparsefit.experiment.records import End, Study, TrialEnd, TrialSpec
from sparsefit.experiment.schedule import Schedule

SMALL, LARGE = Study(0.0, 16), Study(0.0, 64)


def end(report, study, trial, seconds):
    """Let a trial end that took a thousandth of a second of processor time."""
    run = TrialEnd(End("reached", 64), 1024, 0.001, 0.0, 1, 1, 1)
    report.schedule.states[study].end(trial, run.end)
    report.ended(TrialSpec(study, trial, 2000), run, seconds)


@pytest.fixture(params=[PlainReport, LiveReport])
def report(request):
    made = request.param(Console(file=io.StringIO(), width=100), jobs=2)
    made.begin(Schedule([SMALL, LARGE], 10, (2000,)))
    return made


def test_the_time_left_counts_time_that_passed_not_processor_time(report):
    assert report.seconds_left() is None
    end(report, SMALL, 0, 10.0)
    assert report.seconds_left() == pytest.approx(19 * 10 / 2)
    end(report, LARGE, 0, 40.0)
    assert report.seconds_left() == pytest.approx(9 * (10 + 40) / 2)


def test_what_was_done_in_earlier_sessions_is_counted_but_not_timed(report):
    for trial in range(5):
        report.schedule.states[SMALL].end(trial, End("reached", 64))
    assert (report.done, report.total) == (5, 20)
    assert report.seconds_left() is None
    assert report.summary() == "5 of 20 trials, goal reached in 1 of 2 studies"


def test_the_table_shows_the_best_step_of_every_study():
    console = Console(file=io.StringIO(), width=100)
    report = LiveReport(console, jobs=2)
    report.begin(Schedule([SMALL, LARGE], 10, (2000,)))
    end(report, SMALL, 0, 1.0)
    console.print(report.render())
    shown = console.file.getvalue()
    assert "64 (1)" in shown
    assert "- (0)" in shown
    assert "1/20" in shown
    assert "about 10 s left" in shown


def test_plain_output_is_a_line_now_and_then():
    console = Console(file=io.StringIO(), width=100)
    report = PlainReport(console, jobs=1)
    report.begin(Schedule([SMALL, LARGE], 100, (2000,)))
    for trial in range(100):
        for study in (SMALL, LARGE):
            end(report, study, trial, 1.0)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 20
    assert lines[-1] == "200 of 200 trials, goal reached in 2 of 2 studies"


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 min"), (12600, "3.5 h")])
def test_durations_are_words(seconds, words):
    assert duration(seconds) == words
