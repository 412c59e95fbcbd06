"""Equal bits from run to run and for every number of threads."""

import pytest
import torch

from sparsefit.conv import SparseConv2d
from tests.conv.oracle import Case, run

CASES = {
    "many pixels, few weights": Case(n=33, c_in=3, c_out=4, size=(17, 15), density=0.1),
    "many weights, few pixels": Case(n=5, c_in=40, c_out=48, size=(3, 3), density=0.5),
    "large batch": Case(n=200, c_in=4, c_out=6, size=(5, 5), density=0.5),
    "one row": Case(n=64, c_in=16, c_out=1, size=(4, 4), density=0.3),
    "depthwise, strided": Case(n=17, c_in=1, c_out=1, groups=24, size=(9, 9), stride=(2, 2), density=0.7),
}


@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
@pytest.mark.parametrize("name", CASES)
def test_bits_do_not_depend_on_run_or_threads(name, blocked, threads):
    case = CASES[name]
    layer = SparseConv2d.from_dense(case.conv(), case.mask(), backend="sparse")
    x = case.input()
    grad = torch.randn(layer(x).shape)
    results = []
    for count in (1, 2, 1, 3, 2):
        threads(count)
        passes = run(layer, x, grad, blocked=blocked)
        results.append([passes.forward, passes.input, passes.values.clone(), passes.bias.clone()])
    for other in results[1:]:
        for first, again in zip(results[0], other, strict=True):
            assert torch.equal(first, again)
