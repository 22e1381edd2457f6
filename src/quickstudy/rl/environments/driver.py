"""A driver for the highway's own car: the rules that all others drive by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.rl.environments.highway import FASTER, FASTEST, IDLE, LEFT, RIGHT, SLOWER, SLOWEST, STEP, Highway, Seen
from quickstudy.rl.environments.idm import LENGTH, Change, acceleration, incentive
from quickstudy.rl.play import Memory, Policy

_EASE = -0.5  # m/s², what a speed may ask for that is still held to be right
SURE = 50.0
"""A logit that no noise outweighs."""


def surely(action: Tensor, outputs: int) -> Tensor:
    """A prediction (n, outputs) by which these actions (n,) are taken, whether drawn or greedy."""
    return SURE * (action[:, None] == torch.arange(outputs, device=action.device)).to(torch.float32)


def idm_driver(highway: Highway, speed: float | Tensor = 25.0, headway: float = 1.5, politeness: float = 0.3) -> Policy:
    """A policy that drives by the Intelligent Driver Model and MOBIL, from what is seen alone.

    speed: what it wants, m/s, of all lanes or (n,) of each: the speed that pays is what one can know who knows the
    rules. headway: seconds. The speed to have is the highest of the three in reach at which the model would brake by
    0.5 m/s² at most. It changes lanes where that gains more than MOBIL's threshold, to the side that gains more.
    """
    outputs = highway.actions.outputs

    def policy(memory: Memory, x: Any, first: Tensor) -> tuple[Memory, Tensor]:
        seen = highway.read(x)
        wanted = torch.as_tensor(speed, device=x.device).expand_as(seen.speed)
        gap = torch.as_tensor(headway, device=x.device)
        gains = torch.stack([_gain(seen, side, wanted, gap, politeness) for side in (0, 2)], 1)
        best, side = gains.max(1)
        action = torch.where(best > 0, torch.where(side == 0, LEFT, RIGHT), _pace(seen, wanted, gap))
        return memory, surely(action, outputs)

    return policy


def _pace(seen: Seen, wanted: Tensor, headway: Tensor) -> Tensor:
    """Faster, idle or slower."""
    action = torch.full_like(seen.speed, SLOWER, dtype=torch.long)
    ahead = seen.gap[:, 1, 0]
    for choice, by in ((IDLE, 0.0), (FASTER, STEP)):
        tried = (seen.target + by).clamp(SLOWEST, FASTEST)
        pull = acceleration(tried, ahead, tried - seen.speed - seen.faster[:, 1, 0], wanted, headway)
        action = torch.where(pull >= _EASE, choice, action)
    return action


def _gain(seen: Seen, side: int, wanted: Tensor, headway: Tensor, politeness: float) -> Tensor:
    """What a change to this side (0 or 2) gains by MOBIL, (n,); -∞ where it must not be."""

    def pull(speed: Tensor, gap: Tensor, other: Tensor) -> Tensor:
        return acceleration(speed, gap, speed - other, wanted, headway)

    def around(lane: int) -> tuple[Tensor, ...]:
        return *seen.gap[:, lane].unbind(1), *(seen.speed[:, None] + seen.faster[:, lane]).unbind(1)

    ahead, behind, leader, follower = around(1)
    new_ahead, new_behind, new_leader, new_follower = around(side)
    own = Change(pull(seen.speed, ahead, leader), pull(seen.speed, new_ahead, new_leader))
    new = Change(
        pull(new_follower, new_ahead + new_behind + LENGTH, new_leader), pull(new_follower, new_behind, seen.speed)
    )
    old = Change(pull(follower, behind, seen.speed), pull(follower, ahead + behind + LENGTH, leader))
    gain = incentive(own, new, old, torch.as_tensor(politeness, device=ahead.device))
    return torch.where((seen.left if side == 0 else seen.right) > 0, gain, -torch.inf)
