"""``python -m sparsefit`` is the ``sparsefit`` command."""

from sparsefit.cli import main

main()
