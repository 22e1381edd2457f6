"""Gradient descent on a task's own parameters, with state as a learner keeps it: 'task.<name>' and 'rule.<slot>'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor

from quickstudy.entries import RULE, TASK, prefixed, with_prefix
from quickstudy.episode import Params, State
from quickstudy.inner import Rule

Order = Literal["reverse", "forward"]
ORDERS: tuple[Order, ...] = ("reverse", "forward")
_order: ContextVar[Order] = ContextVar("order", default="reverse")

Loss = Callable[[Params, Params], Tensor]


def begin(rule: Rule, task: Params) -> State:
    """The state before the first step from `task`."""
    return with_prefix(TASK, task) | with_prefix(RULE, rule.init(task))


def task_parameters(state: State) -> Params:
    """The task's parameters in `state`, without prefix."""
    return prefixed(TASK, state)


def descend(
    rule: Rule, state: State, loss: Loss, shared: Params, hyper: Params | None = None, through: bool = True
) -> State:
    """`state` after one step of `rule` along the gradient of `loss(task, shared)` in the task's parameters.

    shared: everything else that the loss depends on and that may be differentiated, such as φ. hyper: the rule's
    hyperparameters; None means its initial ones. through: if not, what the rule is told of the loss counts as a
    constant, which leaves second derivatives out. Other entries of the state are kept.
    """
    task = task_parameters(state)
    at = task if through else {name: value.detach() for name, value in task.items()}
    hyper = rule.init_hyper(task) if hyper is None else hyper
    value = loss(at, shared) if rule.uses_loss else None
    updates, slots = rule.update(hyper, gradient(loss, at, shared), prefixed(RULE, state), task, value)
    moved = {name: value + updates[name] for name, value in task.items()}
    return state | with_prefix(TASK, moved) | with_prefix(RULE, slots)


@contextmanager
def second_derivatives(order: Order) -> Iterator[None]:
    """Within it, gradients of inner losses are themselves differentiated in this order; the numbers are the same."""
    token = _order.set(order)
    try:
        yield
    finally:
        _order.reset(token)


def gradient(loss: Loss, task: Params, shared: Params) -> Params:
    """∂loss/∂task, which can be differentiated again, in `task` and in `shared`."""
    if _order.get() == "reverse":
        grads: Params = torch.func.grad(loss)(task, shared)
        return grads
    floats = {name: value for name, value in shared.items() if value.is_floating_point()}
    fixed = {name: value for name, value in shared.items() if name not in floats}
    names, shared_names = tuple(task), tuple(floats)

    def slope(*values: Tensor) -> tuple[Tensor, ...]:
        own = dict(zip(names, values, strict=False))
        others = dict(zip(shared_names, values[len(names) :], strict=True))
        to_task, to_shared = torch.func.grad(loss, argnums=(0, 1))(own, others | fixed)
        return (*to_task.values(), *(to_shared[n] for n in shared_names))

    slopes: tuple[Tensor, ...] = _Slope.apply(slope, len(names), *task.values(), *floats.values())  # type: ignore[no-untyped-call]
    return dict(zip(names, slopes, strict=True))


class _Slope(torch.autograd.Function):
    """g = ∂loss/∂task, differentiated by pushing a tangent forward through it.

    The Jacobian of the whole gradient of a scalar is symmetric, so uᵀ ∂g/∂(task, shared) is the derivative of the
    gradient in both along the direction u in `task`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(slope: Callable[..., tuple[Tensor, ...]], count: int, *values: Tensor) -> tuple[Tensor, ...]:
        return slope(*values)[:count]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.slope, ctx.count, *values = inputs
        ctx.save_for_backward(*values)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        task, shared = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        primals, tangents = (
            tuple(t.contiguous() for t in many) for many in (task, above)
        )  # forward mode writes to them
        slopes = torch.func.jvp(lambda *own: ctx.slope(*own, *shared), primals, tangents)[1]
        return None, None, *slopes
