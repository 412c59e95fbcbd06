import dataclasses
import os
from pathlib import Path

import pytest

from sparsefit.experiment import workload
from sparsefit.experiment.store import Store
from sparsefit.experiment.study import Definition


@pytest.fixture
def artificial(monkeypatch):
    """The module of artificial trials, importable by worker processes too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import artificial

    return artificial


@pytest.fixture
def define():
    """Make small definitions of a sweep on digits."""

    def make(**changes):
        own = {key: changes.pop(key) for key in list(changes) if key not in Definition.__dataclass_fields__}
        digits = dataclasses.replace(workload.load("digits"), **own)
        options = {"batch_sizes": (8, 16, 32), "sparsities": (0.0, 0.9), "trials": 6, **changes}
        return Definition(digits, **options)

    return make


@pytest.fixture
def new_store(tmp_path, define):
    """Make a store with a session begun; closed at the end."""
    stores = []

    def make(name="sweep.db", definition=None, **changes):
        store = Store.create(tmp_path / name, definition or define(**changes))
        store.begin_session({})
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def real_data():
    """Return the folder of a real data set, or skip with the command that gets it."""

    def folder(name):
        root = os.environ.get("SPARSEFIT_DATA")
        if not root:
            pytest.skip(
                f"set SPARSEFIT_DATA to a folder with {name}: sparsefit data {name} --data-dir FOLDER"
            )
        return root

    return folder
