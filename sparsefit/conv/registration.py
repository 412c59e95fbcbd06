"""Operators in two forms with one set of formulas.

As an operator of ``torch.library`` it is seen by compilers and dispatch modes. Plain eager code calls the
same body as an ``autograd.Function``, for a third of the cost per call: with small layers that is what
counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sparsefit.conv.call import CALL_SCHEMA, Call
from sparsefit.errors import InputError


def make_operator(
    name: str, body: Callable, fake: Callable, save: Callable, derive: Callable, *, schema: str | None = None
) -> Callable:
    """Return a function that calls ``torch.ops.sparsefit.<name>`` or its eager twin.

    Parameters
    ----------
    name : str
        Name of the operator.
    body : callable
        What it does.
    fake : callable
        The same with the arguments' shapes only.
    save : callable
        ``save(ctx, inputs, output)`` keeps what the gradient needs.
    derive : callable
        ``derive(ctx, *grads)`` returns the gradient to every input; made of operators, so it can be derived
        again.
    schema : str, optional
        Arguments before the last one, which is a `Call`, and results; the operator takes the call in parts.
        Without it there is no call, and the annotations of the body say what there is.
    """
    library_form = _register(name, body, fake, save, derive, schema)

    class EagerForm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = body(*inputs)
            save(ctx, inputs, output)
            return output

        backward = staticmethod(derive)

    EagerForm.__name__ = EagerForm.__qualname__ = name

    def call(*inputs: Any) -> Any:
        if _is_traced(inputs[0]):
            return library_form(*inputs) if schema is None else library_form(*inputs[:-1], *inputs[-1].parts)
        try:
            return EagerForm.apply(*inputs) if torch.is_grad_enabled() else body(*inputs)
        except RuntimeError as error:
            if any(_is_one_of_many(each) for each in inputs[:3]):
                raise InputError(
                    "sparse layers cannot take many gradients in one backward pass (is_grads_batched, "
                    "vectorize=True): take them one by one, or use torch.func.jacrev or torch.func.vmap"
                ) from error
            raise

    return call


def _register(
    name: str, body: Callable, fake: Callable, save: Callable, derive: Callable, schema: str | None
) -> Callable:
    name = f"sparsefit::{name}"
    if schema is None:
        operator = torch.library.custom_op(name, body, mutates_args=())
        operator.register_fake(fake)
        operator.register_autograd(derive, setup_context=save)
        return operator
    arguments, result = schema.split(" -> ")
    first = arguments.count(",") + 1

    def gathered(inputs: tuple) -> tuple:
        return *inputs[:first], Call.of(*inputs[first:])

    operator = torch.library.custom_op(
        name,
        lambda *inputs: body(*gathered(inputs)),
        mutates_args=(),
        schema=f"({arguments}, {CALL_SCHEMA}) -> {result}",
    )
    operator.register_fake(lambda *inputs: fake(*gathered(inputs)))
    operator.register_autograd(
        lambda ctx, *grads: derive(ctx, *grads) + (None,) * CALL_SCHEMA.count(","),
        setup_context=lambda ctx, inputs, output: save(ctx, gathered(inputs), output),
    )
    return operator


def _is_traced(tensor: Tensor) -> bool:
    """Whether a compiler or a mode must see the call."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or type(tensor) not in (Tensor, torch.nn.Parameter)
        or torch._C._len_torch_dispatch_stack() > 0
    )


def _is_one_of_many(operand: object) -> bool:
    """Whether the engine runs a backward pass for many gradients at once; its tensors have no memory."""
    return isinstance(operand, Tensor) and torch._C._functorch.is_legacy_batchedtensor(operand)


def has_no_rules() -> bool:
    """Whether a transform of ``torch.func`` or forward-mode differentiation is at work.

    Operators have no rules for them: the reference, made of torch's own, takes over.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
