"""Gradient descent on a task's own parameters, with state as a learner keeps it: 'task.<name>' and 'rule.<slot>'."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quickstudy.episode import Params, State
from quickstudy.inner import Rule
from quickstudy.learners.network import prefixed, with_prefix

_TASK, _RULE = "task.", "rule."


def begin(rule: Rule, task: Params) -> State:
    """The state before the first step from `task`."""
    return with_prefix(_TASK, task) | with_prefix(_RULE, rule.init(task))


def task_parameters(state: State) -> Params:
    """The task's parameters in `state`, without prefix."""
    return prefixed(_TASK, state)


def descend(rule: Rule, state: State, loss: Callable[[Params], Tensor], hyper: Params | None = None) -> State:
    """`state` after one step of `rule` along the gradient of `loss` in the task's parameters; the rest is kept.

    hyper: the rule's hyperparameters; None means its initial ones.
    """
    task = task_parameters(state)
    grads = torch.func.grad(loss)(task)
    hyper = rule.init_hyper(task) if hyper is None else hyper
    updates, slots = rule.update(hyper, grads, prefixed(_RULE, state), task)
    moved = {name: value + updates[name] for name, value in task.items()}
    return state | with_prefix(_TASK, moved) | with_prefix(_RULE, slots)
