"""What `sparsefit.fit` and the validation take beside files."""

import pytest

from sparsefit import fit
from sparsefit.errors import InputError
from sparsefit.fitting.validation import validate


@pytest.mark.parametrize("take", [fit, validate])
@pytest.mark.parametrize(
    "table", [{"batch_size": [8], "steps": [90]}, [8, 90], None], ids=["dict", "list", "None"]
)
def test_what_is_no_table_is_refused_by_its_type(table, take):
    with pytest.raises(InputError, match=f"got a {type(table).__name__}, allowed is a DataFrame"):
        take(table)


def test_what_is_imported_late_is_named():
    import sparsefit

    assert set(sparsefit.__all__) <= set(dir(sparsefit))
