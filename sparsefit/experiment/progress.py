"""What a running sweep shows: a live table on a terminal, few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from sparsefit.experiment.records import Study, TrialEnd, TrialSpec
from sparsefit.experiment.schedule import Schedule

PLAIN_LINES = 20
"""Lines that a whole sweep prints when nobody watches a terminal."""


class Report:
    """Counts what ended; prints nothing but trials whose worker died.

    Parameters
    ----------
    console : rich.console.Console
    jobs : int
        Trials that run at a time, for the estimate of the time left.
    """

    def __init__(self, console: Console, jobs: int) -> None:
        self.console = console
        self.jobs = jobs
        self.schedule = Schedule([], 1, (1,))
        self._seconds: dict[Study, list[float]] = {}

    def begin(self, schedule: Schedule) -> None:
        """See `sweep.Report`."""
        self.schedule = schedule

    def ended(self, spec: TrialSpec, run: TrialEnd, seconds: float) -> None:
        """See `sweep.Report`."""
        self._seconds.setdefault(spec.study, []).append(seconds)
        self.show()

    def failed(self, spec: TrialSpec, reason: str, last: bool) -> None:
        """See `sweep.Report`."""
        self.console.print(
            f"{spec}: {reason}; {'left out for now' if last else 'trying again'}", markup=False
        )

    def show(self) -> None:
        """Show the state."""

    @property
    def total(self) -> int:
        """All trials of the sweep."""
        return sum(state.trials for state in self.schedule.states.values())

    @property
    def done(self) -> int:
        """Trials that need no more steps."""
        return sum(state.n_settled for state in self.schedule.states.values())

    def seconds_left(self) -> float | None:
        """Estimate from the mean time of the trials of the same study in this session, else of all."""
        if not self._seconds:
            return None
        means = {study: sum(found) / len(found) for study, found in self._seconds.items()}
        overall = sum(means.values()) / len(means)
        left = sum(
            (state.trials - state.n_settled) * means.get(study, overall)
            for study, state in self.schedule.states.items()
        )
        return left / self.jobs

    def summary(self) -> str:
        """Return one line: trials done, studies with a best step, time left."""
        states = self.schedule.states.values()
        line = f"{self.done} of {self.total} trials, "
        line += f"goal reached in {sum(state.best is not None for state in states)} of {len(states)} studies"
        left = self.seconds_left()
        return line if left is None or self.done == self.total else f"{line}, about {duration(left)} left"


class PlainReport(Report):
    """Prints a line now and then, each time after what it counts was committed."""

    def __init__(self, console: Console, jobs: int) -> None:
        super().__init__(console, jobs)
        self._printed = 0

    def begin(self, schedule: Schedule) -> None:
        """Remember where the session starts."""
        super().begin(schedule)
        self._printed = self.done

    def show(self) -> None:
        """Print a line if enough trials ended since the last one."""
        if self.done - self._printed >= max(1, self.total // PLAIN_LINES) or self.done == self.total:
            self._printed = self.done
            self.console.print(self.summary(), markup=False, highlight=False, soft_wrap=True)


class LiveReport(Report):
    """Keeps a table of the best steps and a progress bar on the terminal."""

    def __init__(self, console: Console, jobs: int) -> None:
        super().__init__(console, jobs)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._task = self._progress.add_task("trials", total=None, left="")
        # A thread that refreshed would read what this one is changing.
        self._live = Live(console=console, get_renderable=self.render, auto_refresh=False)

    def __enter__(self) -> LiveReport:
        """Start the display."""
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last state on the terminal."""
        self._live.stop()

    def begin(self, schedule: Schedule) -> None:
        """Show what earlier sessions left."""
        super().begin(schedule)
        self.show()

    def show(self) -> None:
        """Draw table and bar anew."""
        self._live.refresh()

    def render(self) -> Group:
        """Return table and bar."""
        left = self.seconds_left()
        self._progress.update(
            self._task,
            total=self.total,
            completed=self.done,
            left="" if left is None else f"about {duration(left)} left",
        )
        return Group(self.table(), self._progress)

    def table(self) -> Table:
        """Return the best steps so far: sparsities down, batch sizes across."""
        table = Table(title="best steps so far (trials done)", title_justify="left")
        table.add_column("sparsity", justify="right")
        sizes = sorted({study.batch_size for study in self.schedule.states})
        for size in sizes:
            table.add_column(f"B {size}", justify="right")
        for sparsity in sorted({study.sparsity for study in self.schedule.states}):
            states = [self.schedule.states[Study(sparsity, size)] for size in sizes]
            cells = [f"{'-' if s.best is None else s.best} ({s.n_settled})" for s in states]
            table.add_row(f"{sparsity:g}", *cells)
        return table


@contextmanager
def reporting(jobs: int) -> Iterator[Report]:
    """Yield the report that suits where stderr goes."""
    console = Console(stderr=True)
    if console.is_terminal:
        with LiveReport(console, jobs) as report:
            yield report
    else:
        yield PlainReport(console, jobs)


def duration(seconds: float) -> str:
    """Return a time in words: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
