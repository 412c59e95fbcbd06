"""Blocked batches: every operation against torch on (N, C, H, W), and chains that stay in the blocks."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils import _pytree

from sparsefit.conv import Blocked, blocked, blocked_pool, from_blocked, sparsify, to_blocked
from sparsefit.errors import InputError

BATCHES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33]


def batch(n=5, shape=(3, 7, 6), dtype=torch.float32):
    """Return a batch without equal numbers, so that every maximum is at one place."""
    count = n * torch.Size(shape).numel()
    numbers = torch.randperm(count, generator=torch.Generator().manual_seed(n)).to(dtype) / count - 0.4
    return numbers.view(n, *shape).requires_grad_()


def hold(on_blocks, on_torch, x, rtol=1e-5, atol=1e-6):
    """Hold an operation and its gradient against torch; idle lanes must be zero in both."""
    b = to_blocked(x)
    b.data.retain_grad()
    result = on_blocks(b)
    assert isinstance(result, Blocked)
    got, want = from_blocked(result), on_torch(x)
    torch.testing.assert_close(got, want, rtol=rtol, atol=atol)
    assert result.shape == want.shape
    grad = torch.randn(want.shape, dtype=want.dtype)
    torch.testing.assert_close(
        torch.autograd.grad(got, x, grad, retain_graph=True)[0],
        torch.autograd.grad(want, x, grad)[0],
        rtol=rtol,
        atol=atol,
    )
    got.backward(grad)
    for lanes in (result.data, b.data, b.data.grad):
        idle = lanes.movedim(-1, 1).flatten(0, 1)[x.shape[0] :]
        assert (idle == 0).all()


@pytest.mark.parametrize("n", BATCHES)
def test_blocks_hold_the_batch_and_zeros_behind_it(n, dtype):
    x = batch(n, dtype=dtype)
    b = to_blocked(x)
    assert b.lanes == next(lanes for lanes in (1, 2, 4, 8, 16) if n <= lanes or lanes == 16)
    assert b.shape == x.shape
    lanes = b.data.movedim(-1, 1).flatten(0, 1)
    assert torch.equal(lanes[:n], x)
    assert (lanes[n:] == 0).all()
    assert torch.equal(from_blocked(b), x)


@pytest.mark.parametrize("n", BATCHES)
def test_flat_batches_too(n):
    x = torch.randn(n, 13)
    assert to_blocked(x).shape == (n, 13)
    assert torch.equal(from_blocked(to_blocked(x)), x)


@pytest.mark.parametrize("n", [0, 5, 33])
@pytest.mark.parametrize(
    "lay",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: functional.pad(x, (1, 2, 3, 1))[:, :, 3:-1, 1:-2],
        lambda x: x[:, :1, :1].expand(x.shape),
    ],
    ids=["channels_last", "transposed", "sliced", "expanded"],
)
def test_a_batch_of_any_strides_goes_in(lay, n):
    x = lay(batch(n).detach())
    assert torch.equal(from_blocked(to_blocked(x)), x)


@pytest.mark.parametrize("n", [3, 16, 33])
def test_going_in_and_out_has_the_gradient_of_the_identity(n):
    x = batch(n)
    grad = torch.randn(n, 3, 7, 6).to(memory_format=torch.channels_last)
    from_blocked(to_blocked(x)).backward(grad)
    assert torch.equal(x.grad, grad)


@pytest.mark.parametrize("n", [1, 3, 16, 17])
def test_relu(n):
    hold(blocked.relu, functional.relu, batch(n))


@pytest.mark.parametrize("n", [1, 3, 16, 17])
def test_add(n):
    hold(lambda b: b + blocked.relu(b), lambda x: x + functional.relu(x), batch(n))


@pytest.mark.parametrize("n", [1, 3, 16, 17])
def test_add_bias(n):
    bias, other = torch.randn(3, requires_grad=True), torch.randn(3)
    x = batch(n)
    hold(lambda b: blocked.add_bias(b, other), lambda x: x + other.view(3, 1, 1), x)
    grad = torch.randn(x.shape)
    from_blocked(blocked.add_bias(to_blocked(x), bias)).backward(grad)
    torch.testing.assert_close(bias.grad, grad.sum((0, 2, 3)), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("n", [1, 3, 16, 17])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
        {"kernel_size": 3, "stride": 1},
        {"kernel_size": 2, "stride": 3},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
        {"kernel_size": 2, "dilation": 2},
        {"kernel_size": (7, 6)},
    ],
    ids=str,
)
def test_max_pool(arguments, n):
    hold(
        lambda b: functional.max_pool2d(b, **arguments),
        lambda x: functional.max_pool2d(x, **arguments),
        batch(n),
    )


@pytest.mark.parametrize("n", [1, 3, 16, 17])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
        {"kernel_size": 2, "stride": 3, "ceil_mode": True},
        {"kernel_size": 2, "divisor_override": 3},
        {"kernel_size": (7, 6)},
    ],
    ids=str,
)
def test_average_pool(arguments, n):
    hold(
        lambda b: functional.avg_pool2d(b, **arguments),
        lambda x: functional.avg_pool2d(x, **arguments),
        batch(n),
    )


def test_average_with_a_divisor_of_0_is_refused_as_by_torch():
    with pytest.raises(RuntimeError, match="divisor must be not zero"):
        functional.avg_pool2d(to_blocked(batch()), 2, divisor_override=0)


@pytest.mark.parametrize("n", [1, 3, 16, 17])
@pytest.mark.parametrize("shape", [(3, 7, 6), (2, 1, 1), (2, 20, 17)])
def test_global_average_pool(n, shape):
    hold(
        lambda b: functional.adaptive_avg_pool2d(b, 1),
        lambda x: functional.adaptive_avg_pool2d(x, 1),
        batch(n, shape),
    )


@pytest.mark.parametrize("n", [3, 16, 17])
def test_windows_larger_than_the_core_takes(n):
    x = batch(n, (2, 18, 18))
    hold(lambda b: functional.max_pool2d(b, 17), lambda x: functional.max_pool2d(x, 17), x)
    hold(lambda b: functional.avg_pool2d(b, 17), lambda x: functional.avg_pool2d(x, 17), x)


@pytest.mark.parametrize("n", [3, 16, 17])
def test_pad(n):
    for edges in ((0, 1, 0, 1), (1, 2, 0, 3), (0, 0, 0, 0, 0, 3), (1, 1, 1, 1, 2, 1)):
        hold(lambda b: functional.pad(b, edges), lambda x: functional.pad(x, edges), batch(n))  # noqa: B023


@pytest.mark.parametrize("n", [3, 16, 17])
def test_flatten_is_a_view_with_the_order_of_torch(n):
    hold(lambda b: torch.flatten(b, 1), lambda x: torch.flatten(x, 1), batch(n))
    b = to_blocked(batch(n))
    assert b.flatten().data.data_ptr() == b.data.data_ptr()


@pytest.mark.parametrize("n", [3, 16, 17])
def test_dense_layers_go_out_of_the_blocks_and_back(n):
    conv, linear = nn.Conv2d(3, 4, 3), nn.Linear(3 * 7 * 6, 5)
    hold(conv, conv, batch(n), rtol=1e-4, atol=1e-5)
    hold(lambda b: linear(b.flatten()), lambda x: linear(x.flatten(1)), batch(n), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [2, 3])
def test_max_pool_of_equal_numbers_and_nan_is_that_of_torch(kernel):
    x = torch.randint(0, 2, (5, 2, 7, 6)).float()
    x[0, 0, 3, 3] = float("nan")
    x[1, 0] = float("-inf")
    x[2, 1] = float("nan")
    x.requires_grad_()
    got = from_blocked(functional.max_pool2d(to_blocked(x), kernel))
    want = functional.max_pool2d(x, kernel)
    torch.testing.assert_close(got, want, equal_nan=True, rtol=0, atol=0)
    grad = torch.randn(want.shape)
    torch.testing.assert_close(
        torch.autograd.grad(got, x, grad)[0], torch.autograd.grad(want, x, grad)[0], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("pool", [functional.max_pool2d, functional.avg_pool2d])
def test_second_derivatives_of_pooling(pool):
    x, v = batch(5), torch.randn(5, 3, 3, 3)

    def curvature(function):
        (g,) = torch.autograd.grad(function(x).pow(3), x, v, create_graph=True)
        return torch.autograd.grad(g.square().sum(), x)[0]

    got = curvature(lambda x: from_blocked(pool(to_blocked(x), 2)))
    torch.testing.assert_close(got, curvature(lambda x: pool(x, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pool", [functional.max_pool2d, functional.avg_pool2d])
@pytest.mark.parametrize(
    "arguments", [{"kernel_size": 2, "padding": 2}, {"kernel_size": 9}, {"kernel_size": 2, "stride": 0}]
)
def test_impossible_windows_get_the_error_of_torch(pool, arguments):
    x = batch().detach()
    with pytest.raises(RuntimeError) as of_torch:
        pool(x, **arguments)
    with pytest.raises(RuntimeError) as of_blocks:
        pool(to_blocked(x), **arguments)
    assert type(of_torch.value) is type(of_blocks.value)


class Residual(nn.Module):
    """ResNet-8 in small: everything that its blocks do."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.conv2 = nn.Conv2d(4, 8, 3, stride=2)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.pool = nn.AvgPool2d(2)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        """Return logits."""
        x = self.relu(self.conv1(x))
        shortcut = functional.pad(self.pool(x), (0, 0, 0, 0, 0, 4))
        x = self.conv3(self.relu(self.conv2(self.pad(x)))) + shortcut
        return self.head(self.mean(self.relu(x)))


CHAINS = {
    "conv, relu, pool": lambda: nn.Sequential(
        *(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 6, 3), nn.ReLU(inplace=True), nn.Flatten(1), nn.Linear(24, 5)),
    ),
    "residual": Residual,
}


@pytest.mark.parametrize("n", [2, 5, 16, 21])
@pytest.mark.parametrize("name", CHAINS)
def test_a_model_of_plain_torch_code_runs_in_blocks(name, n, monkeypatch):
    torch.manual_seed(1)
    dense = CHAINS[name]()
    layers = {k: m for k, m in dense.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    model = sparsify(dense, {k: torch.rand_like(m.weight) < 0.4 for k, m in layers.items()}, backend="sparse")
    x = batch(n, (3, 12, 12))
    want = model(x)
    want_grads = torch.autograd.grad(want.square().sum(), [x, *model.parameters()])
    b = to_blocked(x)
    with monkeypatch.context() as patch:
        for place in ("blocked_op.from_blocks", "layout.from_blocks"):
            patch.setattr(f"sparsefit.conv.{place}", lambda *_: pytest.fail("left the blocks"))
        result = model(b)
    got = from_blocked(result)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    got_grads = torch.autograd.grad(got.square().sum(), [x, *model.parameters()])
    for a, b in zip(got_grads, want_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_gradient_with_numbers_in_idle_lanes_does_no_harm():
    """Whoever sums ``data`` itself sends ones to lanes that are no samples."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3)
    model = sparsify(conv, {"weight": torch.rand_like(conv.weight) < 0.5}, backend="sparse")
    x = batch(5)
    got = torch.autograd.grad(model(to_blocked(x)).data.sum(), [x, *model.parameters()])
    want = torch.autograd.grad(model(x).sum(), [x, *model.parameters()])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (torch.sigmoid, "torch's sigmoid has no form for a blocked batch; .*with from_blocked"),
        (lambda b: functional.batch_norm(b, None, None), "torch's batch_norm has no form"),
        (lambda b: functional.max_pool2d(b.flatten(), 2), r"a blocked \(N, C, H, W\), got .*\(5, 126\)"),
        (lambda b: blocked_pool.max_pool2d(b, 2, return_indices=True), "returns no indices"),
        (lambda b: functional.adaptive_avg_pool2d(b, 2), "goes to 1×1, got 2"),
        (lambda b: torch.add(b, b, alpha=2), "added as they are, got alpha=2"),
        (torch.flatten, "is flattened from dimension 1 to the last, got 0 to -1"),
        (lambda b: functional.max_pool2d(b, (2, 3, 4)), r"an int or two, got \(2, 3, 4\)"),
        (lambda b: functional.max_pool2d(b, 2.0), "an int or two, got 2.0"),
        (lambda b: torch.flatten(b, 2), "is flattened from dimension 1 to the last, got 2 to -1"),
        (lambda b: functional.pad(b, (1, 1), "reflect"), "is padded with zeros"),
        (lambda b: functional.pad(b, (1, 1), value=2.0), "is padded with zeros"),
        (lambda b: b + b.flatten(), r"got Blocked \(5, 3, 7, 6\) and Blocked \(5, 126\)"),
        (lambda b: b + torch.zeros(5, 3, 7, 6), "add takes two blocked batches"),
        (lambda b: blocked.add_bias(b, torch.zeros(4)), r"must have shape \(3,\), got \(4,\)"),
    ],
)  # fmt: skip
def test_what_has_no_blocked_form_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(to_blocked(batch().detach()))


def test_a_blocked_batch_is_a_pytree():
    b = to_blocked(batch())
    doubled = _pytree.tree_map(lambda t: 2 * t, b)
    assert isinstance(doubled, Blocked)
    assert torch.equal(from_blocked(doubled), 2 * from_blocked(b))


@pytest.mark.parametrize("name", ["to_blocks", "from_blocks", "max_pool", "average_pool"])
def test_opcheck_passes(name):
    x = batch()
    data = to_blocked(x).data.detach().requires_grad_()
    window = [2, 2, 2, 2, 0, 0, 3, 3]
    arguments = {"to_blocks": (x, 8), "from_blocks": (data, 5)}.get(name, (data, 5, window))
    torch.library.opcheck(getattr(torch.ops.sparsefit, name).default, arguments)
