"""Traffic on a ring road of several lanes: who follows whom, who changes lanes, and how all move."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.rl.environments.idm import LENGTH, Change, acceleration, incentive

SECONDS, PARTS = 1.0, 4
"""Between two decisions, and in how many parts of this time cars move."""


class Drivers(NamedTuple):
    """What drivers want. desired: (n, N), m/s. headway, politeness: (n, 1). lanes: (n, 1) int64. ring: (n, 1), how long
    the road is, metres."""

    desired: Tensor
    headway: Tensor
    politeness: Tensor
    lanes: Tensor
    ring: Tensor


class Order(NamedTuple):
    """Who follows whom in the own lane. leader, follower: (n, N) int64, itself where a car is alone in its lane. ahead:
    (n, N), from the front of a car to the front of its leader, metres; once around where it is alone."""

    leader: Tensor
    follower: Tensor
    ahead: Tensor


def distances(x: Tensor, ring: Tensor) -> Tensor:
    """How far car j is ahead of car i, as a share of the ring, (n, N, N) in [0, 1], from places x (n, N) in [0, ring).

    A car is once around ahead of itself. Of two at the same place the later one in the row is ahead, by nothing.
    """
    place = x / ring
    apart = place[:, None, :] - place[:, :, None]
    same = (apart == 0).triu_(1)
    return apart.sub_(apart.ceil()).add_(1).masked_fill_(same, 0.0)


def nearest(apart: Tensor, lane: Tensor, looked: Tensor, ring: Tensor) -> tuple[Tensor, Tensor]:
    """How far the nearest car ahead is in the lane `looked` (n, N), metres, infinite where none is in it; and which it
    is. apart: shares of the ring (n, N, N)."""
    lane, looked = 2 * lane.to(apart.dtype), 2 * looked.to(apart.dtype)
    share, which = (lane[:, None, :] - looked[:, :, None]).abs_().add_(apart).min(-1)  # in other lanes 2 or more
    return (share * ring).masked_fill_(share > 1, torch.inf), which


def order(apart: Tensor, lane: Tensor, ring: Tensor) -> Order:
    """Who follows whom, by the distances (n, N, N) and lanes (n, N)."""
    ahead, leader = nearest(apart, lane, lane, ring)
    own = torch.arange(lane.shape[1], device=lane.device).expand_as(lane)
    return Order(leader, own.scatter(1, leader, own), ahead)


def touched(now: Order, gap: Tensor) -> Tensor:
    """Whether car 0 and the one ahead of it or behind it overlap, (n,), where these are the gaps (n, N) to leaders."""
    beside = (now.leader == 0) | (torch.arange(gap.shape[1], device=gap.device) == 0)
    return (beside & (gap < 0)).any(1)


def wishes(apart: Tensor, now: Order, speed: Tensor, lane: Tensor, side: Tensor, drivers: Drivers) -> Tensor:
    """What each car gains by changing to the lane on a side (n, 1), -1 or 1, by MOBIL: (n, N); -∞ where it must not."""
    looked = lane + side
    ahead, leader = nearest(apart, lane, looked, drivers.ring)
    follower = now.follower.gather(1, leader)
    behind = now.ahead.gather(1, follower) - ahead
    empty, alone = ahead == torch.inf, now.leader == torch.arange(lane.shape[1], device=lane.device)

    def pull(who: Tensor | None, distance: Tensor, whom: Tensor) -> Tensor:
        mine = speed if who is None else speed.gather(1, who)
        desired = drivers.desired if who is None else drivers.desired.gather(1, who)
        return acceleration(mine, distance - LENGTH, mine - speed.gather(1, whom), desired, drivers.headway)

    there = torch.arange(lane.shape[1], device=lane.device).expand_as(lane)
    as_is = pull(None, now.ahead, now.leader)
    new = Change(as_is.gather(1, follower), pull(follower, behind, there))
    old = Change(as_is.gather(1, now.follower), pull(now.follower, now.ahead.gather(1, now.follower) + now.ahead,
                                                     now.leader))  # fmt: skip
    new = Change(new.now.masked_fill(empty, 0.0), new.then.masked_fill(empty, 0.0))
    old = Change(old.now.masked_fill(alone, 0.0), old.then.masked_fill(alone, 0.0))
    gain = incentive(Change(as_is, pull(None, ahead, leader)), new, old, drivers.politeness)
    return torch.where((looked >= 0) & (looked < drivers.lanes), gain, -torch.inf)


def moved(
    x: Tensor, speed: Tensor, now: Order, target: Tensor, response: float, limits: tuple[float, float], drivers: Drivers
) -> tuple[Tensor, Tensor, Tensor]:
    """Places and speeds (n, N) after SECONDS, and whether car 0 has touched another, (n,).

    All but car 0 follow the Intelligent Driver Model; car 0 approaches the speed `target` (n,) within `response`
    seconds, its acceleration within limits. Speeds change by Euler's rule and places by the mean of two speeds.
    """
    dt, gap = SECONDS / PARTS, now.ahead - LENGTH
    hit = touched(now, gap)
    for _ in range(PARTS):
        pull = acceleration(speed, gap, speed - speed.gather(1, now.leader), drivers.desired, drivers.headway)
        own = ((target - speed[:, 0]) / response).clamp(*limits)
        after = (speed + dt * torch.cat([own[:, None], pull[:, 1:]], 1)).clamp(min=0)
        way, speed = 0.5 * dt * (speed + after), after
        x, gap = x + way, gap + way.gather(1, now.leader) - way
        hit = hit | touched(now, gap)
    return torch.where(x >= drivers.ring, x - drivers.ring, x), speed, hit
