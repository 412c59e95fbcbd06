"""Which trial runs next and up to which step: the cost of a sweep is decided here.

A trial is worth running no further than the best step of its study, and while a study has no best step yet,
no further than needed to find one. So the trials of a study run in rounds of growing budgets (by a factor of
4 up to the maximal steps): a round ends with every trial run up to its budget; the first round in which a
trial reaches the goal is the last. Within it, a trial stops at the best step of the trials before it. Reruns
from step 1 in a later round cost at most a third more; without rounds, one hopeless trial at the head of a
study costs as much as a hundred capped ones.

What a finished study reports is a function of its definition, not of the order in which trials happened to
end: `limits` gives every trial the step up to which it counts, and what was seen past it is not reported. K*,
and every trial that passed or equalled the best before it, never change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sparsefit.experiment.records import End, Study, TrialSpec

FIRST_BUDGET = 32
"""Evaluation intervals that the smallest budget has at least."""

GROWTH = 4
"""Budget of a round over that of the one before."""


def budgets(max_steps: int, eval_interval: int, *, cap: bool = True) -> tuple[int, ...]:
    """Return the budgets of the rounds, smallest first, `max_steps` last; without caps it is the only one."""
    found = [max_steps]
    while cap and found[-1] / GROWTH >= FIRST_BUDGET * eval_interval:
        intervals = -(-found[-1] // (GROWTH * eval_interval))
        found.append(intervals * eval_interval)
    return tuple(reversed(found))


def limits(ends: Mapping[int, End], trials: int, budgets: Sequence[int], *, cap: bool = True) -> list[int]:
    """Return the step up to which each trial of a study counts, by what is known of the others.

    The budget of the study's round, or the best step among the trials with lower numbers if that is lower.
    """
    reached = {trial: end.step for trial, end in ends.items() if end.status == "reached"}
    limit = round_budget(ends, trials, budgets)
    found = []
    for trial in range(trials):
        found.append(limit)
        if cap and trial in reached:
            limit = min(limit, reached[trial])
    return found


def round_budget(ends: Mapping[int, End], trials: int, budgets: Sequence[int]) -> int:
    """Return the smallest budget in which a trial reached the goal, or else that not every trial has used."""
    steps = [end.step for end in ends.values() if end.status == "reached"]
    for budget in budgets[:-1]:
        if any(step <= budget for step in steps) or not all(
            trial in ends and is_settled(ends[trial], budget) for trial in range(trials)
        ):
            return budget
    return budgets[-1]


def is_settled(end: End, limit: int) -> bool:
    """Say whether a trial needs no more steps: it ended by itself, or was run as far as it counts."""
    return end.status in ("reached", "diverged") or end.step >= limit


def settle(end: End, limit: int) -> End:
    """Return what counts of a trial that was run up to `limit` or further."""
    if end.step <= limit and end.status != "capped":
        return end
    return End("capped", min(end.step, limit))


def count_settled(ends: Mapping[int, End], trials: int, budgets: Sequence[int], *, cap: bool = True) -> int:
    """Return how many trials need no more steps; a capped one may, while no trial reached the goal."""
    bounds = limits(ends, trials, budgets, cap=cap)
    if not any(end.status == "reached" for end in ends.values()):
        bounds = [budgets[-1]] * trials
    return sum(trial in ends and is_settled(ends[trial], bound) for trial, bound in enumerate(bounds))


class StudyState:
    """The trials of one study: what is known, what runs, what comes next."""

    def __init__(self, study: Study, trials: int, budgets: Sequence[int], *, cap: bool) -> None:
        self.study = study
        self.trials = trials
        self.budgets = budgets
        self.cap = cap
        self.ends: dict[int, End] = {}
        self._running: set[int] = set()
        self._given_up: set[int] = set()
        self._limits = [budgets[0]] * trials

    @property
    def best(self) -> int | None:
        """Lowest step at which a trial reached the goal."""
        return min((end.step for end in self.ends.values() if end.status == "reached"), default=None)

    @property
    def n_settled(self) -> int:
        """How many trials need no more steps."""
        return count_settled(self.ends, self.trials, self.budgets, cap=self.cap)

    @property
    def is_finished(self) -> bool:
        """Say whether nothing is left to run: every trial is settled or given up."""
        return count_settled(self._known, self.trials, self.budgets, cap=self.cap) == self.trials

    @property
    def _known(self) -> dict[int, End]:
        """How trials ended; those given up as if they had missed the goal to the end."""
        return self.ends | dict.fromkeys(self._given_up, End("not_reached", self.budgets[-1]))

    def next(self) -> tuple[int, TrialSpec] | None:
        """Return the round (as its budget) and the first trial to run in it, None if there is none now."""
        known = self._known
        for trial, limit in enumerate(self._limits):
            if trial not in self._running and not (trial in known and is_settled(known[trial], limit)):
                spec = TrialSpec(self.study, trial, limit)
                return round_budget(known, self.trials, self.budgets), spec
        return None

    def start(self, trial: int) -> None:
        """Note that a trial runs."""
        self._running.add(trial)

    def end(self, trial: int, end: End) -> None:
        """Note how a trial ended."""
        self.ends[trial] = end
        self.put_back(trial)

    def put_back(self, trial: int) -> None:
        """Note that a trial runs no more."""
        self._running.discard(trial)
        self._limits = limits(self._known, self.trials, self.budgets, cap=self.cap)

    def give_up(self, trial: int) -> None:
        """Leave a trial out for the rest of this session."""
        self._given_up.add(trial)
        self.put_back(trial)


class Schedule:
    """Hands out the trials of all studies, those of the lowest round and number first.

    So every study has its first n trials before any has n + 1, and a sweep that is interrupted can be fitted.
    Large batches, which cost most, come first among equals: the last trials to end are then short ones.
    """

    def __init__(
        self, studies: Iterable[Study], trials: int, budgets: Sequence[int], *, cap: bool = True
    ) -> None:
        ordered = sorted(studies, key=lambda study: (-study.batch_size, study.sparsity))
        self.states = {study: StudyState(study, trials, budgets, cap=cap) for study in ordered}

    def next(self) -> TrialSpec | None:
        """Return the next trial and count it as running; None while there is nothing to start."""
        candidates = [found for state in self.states.values() if (found := state.next())]
        if not candidates:
            return None
        _, spec = min(candidates, key=lambda found: (found[0], found[1].trial))
        self.states[spec.study].start(spec.trial)
        return spec

    @property
    def is_finished(self) -> bool:
        """Say whether nothing is left to run in any study."""
        return all(state.is_finished for state in self.states.values())
