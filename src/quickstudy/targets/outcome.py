"""What labels of an agent's steps say."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

FACTS = ("reward", "episode", "log_prob", "advantage", "value")
"""The parts of an `Outcome` that are one number each."""


class Outcome(NamedTuple):
    """What labels of steps (*lead,) say. action: ids (*lead,), or numbers (*lead, D). reward: that followed.

    episode: the number of the step's episode in its trial, from 0. log_prob: of the action, as the agent that took it
    had it. advantage: of the action over what was expected. value: what the step's value is to be said to be, the
    discounted sum of what followed. rules: what the environment tells of the task, (*lead, rules).
    """

    action: Tensor
    reward: Tensor
    episode: Tensor
    log_prob: Tensor
    advantage: Tensor
    value: Tensor
    rules: Tensor | None = None
