"""A sweep without training: trials that end after milliseconds, as their numbers say. Run it to sweep.

``python artificial.py STORE [JOBS [MILLISECONDS]]`` prints ``done SPARSITY BATCH TRIAL`` for each.
"""

import hashlib
import os
import signal
import sys
import time

from sparsefit.experiment.engine import LocalProcesses
from sparsefit.experiment.records import End, TrialEnd
from sparsefit.experiment.store import open_store
from sparsefit.experiment.sweep import run


class Trial:
    """Ends at a step that a hash of its study and number gives, after a short sleep."""

    def __init__(self, milliseconds=0.0, crash_file=None):
        self.milliseconds = milliseconds
        self.crash_file = crash_file

    def __call__(self, spec):
        time.sleep(self.milliseconds / 1000)
        if self.crash_file and spec.trial == 1:
            with open(self.crash_file, "a") as stream:
                stream.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        end = true_end(spec.study, spec.trial)
        if end.step > spec.limit:
            end = End("capped", spec.limit)
        return TrialEnd(end, end.step * spec.study.batch_size, 0.001, 0.0, 1, 1, 1)


def true_end(study, trial):
    """How a trial ends without limits."""
    digest = hashlib.sha256(repr((study.sparsity, study.batch_size, trial)).encode()).digest()
    step = 4 * (1 + digest[0])
    return [End("reached", step), End("diverged", step), End("not_reached", 2000)][digest[1] % 3]


def broken(spec):
    """Raise what a user's model might raise."""
    raise ValueError("shapes do not match")


def process(spec):
    """Say in which process a trial runs."""
    return os.getpid()


class PrintingReport:
    """Prints what was stored."""

    def begin(self, schedule):
        pass

    def ended(self, spec, run, seconds):
        print("done", spec.study.sparsity, spec.study.batch_size, spec.trial, flush=True)

    def failed(self, spec, reason, last):
        print("failed", spec.trial, reason, "last" if last else "again", flush=True)


if __name__ == "__main__":
    path, jobs, milliseconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with open_store(path) as store:
        store.begin_session({})
        run(store, LocalProcesses(jobs), Trial(milliseconds), PrintingReport())
    print("finished", flush=True)
