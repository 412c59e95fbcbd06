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


def make_operator(name: str, body: Callable, fake: Callable, save: Callable, derive: Callable) -> Callable:
    """Return a function that calls ``torch.ops.sparsefit.<name>`` or its eager twin.

    Parameters
    ----------
    name : str
        Name of the operator.
    body : callable
        What it does; its annotations give the schema.
    fake : callable
        The same with the arguments' shapes only.
    save : callable
        ``save(ctx, inputs, output)`` keeps what the gradient needs.
    derive : callable
        ``derive(ctx, *grads)`` returns the gradient to every input; made of operators, so it can be derived
        again.
    """
    library_form = torch.library.custom_op(f"sparsefit::{name}", body, mutates_args=())
    library_form.register_fake(fake)
    library_form.register_autograd(derive, setup_context=save)

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
            return library_form(*inputs)
        return EagerForm.apply(*inputs) if torch.is_grad_enabled() else body(*inputs)

    return call


def _is_traced(tensor: Tensor) -> bool:
    """Whether a compiler or a mode must see the call."""
    return (
        torch.compiler.is_compiling()
        or type(tensor) not in (Tensor, torch.nn.Parameter)
        or torch._C._len_torch_dispatch_stack() > 0
    )


def functorch_is_active() -> bool:
    """Whether a transform of ``torch.func`` is at work, for which operators have no rules."""
    return torch._C._are_functorch_transforms_active()
