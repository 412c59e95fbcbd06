"""Sparse layers: weight → mask → packed → op → layer.

``SparseConv2d``, ``SparseLinear`` and ``sparsify`` replace dense layers by ones that keep only the weights of
a mask; weight-sparse, not point-cloud sparse. A ``Blocked`` batch stays in the layout of the kernels from
layer to layer. Importing this package needs torch but not the compiled core; the first sparse layer does.
"""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ModuleNotFoundError("sparsefit.conv needs torch: pip install 'sparsefit[train]'", name="torch")

from sparsefit.conv.blocked import Blocked, from_blocked, to_blocked
from sparsefit.conv.dispatch import Choice, choices, get_backend, restore_choices, set_backend
from sparsefit.conv.layer import SparseConv2d, SparseLinear
from sparsefit.conv.sparsify import explain, sparsify

__all__ = [
    "Blocked",
    "Choice",
    "SparseConv2d",
    "SparseLinear",
    "choices",
    "explain",
    "from_blocked",
    "get_backend",
    "restore_choices",
    "set_backend",
    "sparsify",
    "to_blocked",
]
