"""Which of two formulations a function takes: its own fast passes, or plain operations that PyTorch differentiates.

The fast passes of a ``torch.autograd.Function`` here write over memory, and say of themselves the first derivative of a
backward pass alone. No transformation of a program sees through that. So each has a plain formulation beside it, of
operations that make new tensors: slower and with more memory, the same numbers to rounding. It is what runs, without
being asked for,

* inside of ``torch.func`` (``grad``, ``vmap``, ``jvp``, ``vjp``, ``jacrev``, ``jacfwd``, ``hessian``, ...),
* in forward mode (``torch.autograd.forward_ad``), and
* in a backward pass that is itself differentiated (``create_graph=True``) or batched (``is_grads_batched=True``).

A first derivative by ``backward()`` or ``torch.autograd.grad`` has the fast passes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def transformed() -> bool:
    """Whether what is computed now is transformed: inside of ``torch.func``, or differentiated in forward mode."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def differentiated_again(gradient: Tensor) -> bool:
    """In a backward pass from ``gradient``: whether it is differentiated in turn, transformed or batched."""
    batched = torch._C._functorch.is_legacy_batchedtensor(gradient)
    return torch.is_grad_enabled() or transformed() or batched


def plain_gradients(
    plain: Callable[..., Tensor], inputs: Sequence[Tensor | None], gradient: Tensor
) -> list[Tensor | None]:
    """What a backward pass gives that may be differentiated again.

    Args:
        plain: the plain formulation of the forward pass.
        inputs: what it takes, as saved; the gradient of one that requires none is ``None``.
        gradient: of a loss by its result.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Under other names, so that what goes from one to another outside of the function is not counted here.
        inputs = [None if one is None else one.view_as(one) for one in inputs]
        outcome = plain(*inputs)
    wanted = [one for one in inputs if one is not None and one.requires_grad]
    found = iter(torch.autograd.grad(outcome, wanted, gradient, create_graph=again, materialize_grads=True))
    return [next(found) if one is not None and one.requires_grad else None for one in inputs]
