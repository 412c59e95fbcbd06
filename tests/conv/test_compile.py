"""torch.compile sees the layers without a graph break, and the numbers stay."""

import pytest
import torch
from torch import nn

from sparsefit.conv import SparseConv2d, from_blocked, sparsify, to_blocked
from tests.conv.oracle import Case


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def model_and_input():
    """Return a model of sparse and dense layers and a batch."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    masks = {name: torch.rand_like(model.get_parameter(f"{name}.weight")) < 0.4 for name in ("0", "3", "7")}
    return sparsify(model, masks, backend="sparse"), torch.randn(5, 3, 8, 8)


def gradients(function, model, x):
    """Return the output and every gradient."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    y = function(x)
    y.square().sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
@pytest.mark.parametrize("blocked", [False, True], ids=["strided", "blocked"])
def test_whole_model_is_one_graph_with_equal_numbers(compiler, blocked):
    model, x = model_and_input()

    def function(x):
        return from_blocked(model(to_blocked(x))) if blocked else model(x)

    compiled = torch.compile(function, fullgraph=True, backend=compiler)
    for got, want in zip(gradients(compiled, model, x), gradients(function, model, x), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_batch_size_may_change_without_a_new_graph_each_time():
    model, _ = model_and_input()
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=count, dynamic=True)
    for n in (5, 6, 9, 21):
        x = torch.randn(n, 3, 8, 8)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=1e-5)
    assert len(graphs) == 1


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_inductor_gives_the_same_numbers():
    layer = SparseConv2d.from_dense(Case().conv(), Case().mask(), backend="sparse")
    x = Case().input()
    assert torch.equal(torch.compile(layer, fullgraph=True)(x), layer(x))


def test_export_keeps_the_operator():
    layer = SparseConv2d.from_dense(Case().conv(), Case().mask(), backend="sparse")
    program = torch.export.export(layer, (Case().input(),))
    assert "sparsefit.conv2d" in str(program.graph)
    assert torch.equal(program.module()(Case().input()), layer(Case().input()))
