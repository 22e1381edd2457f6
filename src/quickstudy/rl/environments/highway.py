"""A highway: one car among others, under rules that have to be found out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.errors import ConfigError
from quickstudy.hints import Size
from quickstudy.registry import sources, targets
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.environments.idm import LENGTH, STANDSTILL
from quickstudy.rl.environments.traffic import Drivers, distances, moved, order, touched, wishes
from quickstudy.rl.pictures import AGENT, OTHER, WALL, boxes, canvas
from quickstudy.rl.source import EnvironmentSource
from quickstudy.targets import Target

LEFT, IDLE, RIGHT, FASTER, SLOWER = range(5)
NAMES = ("lane left", "idle", "lane right", "faster", "slower")
STEP, SLOWEST, FASTEST = 5.0, 10.0, 35.0
"""Of the speed that the own car is to have, m/s."""
MOST_LANES = 4
_AT_FIRST, _SLOW = 20.0, 5.0  # m/s
_RESPONSE, _LIMITS = 0.6, (-5.0, 4.0)  # s, and m/s²
_WIDTH = 10.0  # m/s, this far from the speed that pays nothing is paid for it
_PACE, _SIDE = 0.8, 0.2
_WIDE, _LONG = 16, 120  # pixels of a lane, and of what is seen to one side
_SIGHT = 100.0  # m
_UNIT = 20.0  # m/s, of differences of speed
_SPREAD = 0.2  # how far the speeds that drivers of one task want lie apart
_DRAWN = ("density", "wanted", "headway", "politeness", "pays")  # what tasks draw from ranges
_OWN = 4  # numbers that are seen of the own car

Range = tuple[float, float]


class Seen(NamedTuple):
    """An observation in metres and seconds. speed, target: (n,), of the own car and what it is to have. left, right:
    (n,), how many lanes there are on either side. there: (n, 3, 2) bool, whether a car is in sight in the lane to the
    left, the own and that to the right, ahead and behind. gap: from bumper to bumper, negative alongside; infinite
    where none is there. faster: how much faster than the own car it is; 0 where none is there."""

    speed: Tensor
    target: Tensor
    left: Tensor
    right: Tensor
    there: Tensor
    gap: Tensor
    faster: Tensor


@dataclass(frozen=True, kw_only=True)
class Highway(Environment):
    """A ring road of 2 to 4 lanes, with `cars` others under the Intelligent Driver Model and MOBIL. A step is a second.

    Other traffic, other rules: a task draws how dense traffic is, how fast it wants to be, how close it follows, how
    polite it is, and, which nobody is told, the speed that pays and the side of the road that does. What is best to do
    in an episode is hence learned in those before it.

    Actions change the lane at once, or the speed the car is to have by 5 m/s, from 10 to 35. The reward is 0.8 times
    1 - |v - pays| / 10, not below 0, plus 0.2 times 1 - |place - side|, where the place is 0 in the leftmost lane and 1
    in the rightmost. A collision brings 0 and ends the episode; its weights are those of highway-env in kind: most for
    speed, a little for the side.

    Seen, (22,): the own speed and what it is to be, the lanes on either side, and for the lane to the left, the own and
    that to the right the nearest car ahead and behind within 100 m: whether there is one, its gap, and how much faster
    it is. See `read`. Nothing seen tells the task's numbers.

    density: cars for each kilometre of a lane. lanes: the fewest and the most. wanted: by others, m/s. headway: their
    time gap, seconds. politeness: how much they mind what others lose by their changes of lanes. pays: the speed that
    does, m/s. Each is a range that tasks are drawn from.
    """

    cars: int = 20
    density: Range = (5.0, 20.0)
    lanes: tuple[int, int] = (2, MOST_LANES)
    wanted: Range = (18.0, 30.0)
    headway: Range = (0.8, 2.0)
    politeness: Range = (0.0, 1.0)
    pays: Range = (12.0, 32.0)
    horizon: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (*_DRAWN, "lanes"):
            low, high = getattr(self, name)
            if not 0 <= low <= high < math.inf:
                raise ConfigError(f"{name} is a range from 0 or above, found {low} to {high}. Correct it.")
        around = (self.cars + 1) * 1000 / (self.lanes[1] * max(self.density[1], 1e-9))
        if not 2 <= self.lanes[0] <= self.lanes[1] <= MOST_LANES or around < 2 * _SIGHT or not self.density[0] > 0:
            raise ConfigError(
                f"The road has 2 to {MOST_LANES} lanes and is {2 * _SIGHT:.0f} m long or longer, found lanes="
                f"{self.lanes} and {around:.0f} m for {self.cars} cars of density {self.density}. Raise cars, or lower "
                "density."
            )
        if self.headway[0] <= 0 or self.wanted[0] < _SLOW:
            raise ConfigError(
                f"Drivers keep a headway above 0 s and want {_SLOW:.0f} m/s or more, found headway={self.headway} and "
                f"wanted={self.wanted}. Raise them."
            )

    @property
    def actions(self) -> Target:
        made: Target = targets.make("actions", count=len(NAMES), names=NAMES)
        return made

    @property
    def observation(self) -> tuple[int, ...]:
        return (_OWN + 3 * 2 * 3,)

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"lanes": self.lanes, "side": (0.0, 1.0)}

    def task(self, split: str, keys: Tensor) -> State:
        ranges = {name: getattr(self, name) for name in _DRAWN} | {"side": (0.0, 1.0)}
        draw = rng.uniform(keys, (len(ranges),))
        drawn = {name: low + (high - low) * draw[:, i] for i, (name, (low, high)) in enumerate(ranges.items())}
        least, most = self.lanes
        return drawn | {"lanes": least + rng.integers(rng.fold(keys, 1), most - least + 1)}

    def _ring(self, task: State) -> Tensor:
        return (self.cars + 1) * 1000.0 / (task["density"] * task["lanes"])

    def _drivers(self, task: State, state: State) -> Drivers:
        return Drivers(state["wanted"], *(one[:, None] for one in (
            task["headway"], task["politeness"], task["lanes"], self._ring(task),
        )))  # fmt: skip

    def reset(self, task: State, keys: Tensor) -> State:
        """All cars, the own one is the first, spread over the lanes at a distance that is drawn."""
        count, lanes = self.cars + 1, task["lanes"][:, None]
        rank = rng.permutation(rng.fold(keys, 0), count)
        lane = rank % lanes
        space = self._ring(task)[:, None] / ((count - lane + lanes - 1) // lanes)
        x = space * (rank // lanes + rng.uniform(rng.fold(keys, 1), (count,), 0.0, 0.3))
        wanted = task["wanted"][:, None] * rng.uniform(rng.fold(keys, 2), (count,), 1 - _SPREAD, 1 + _SPREAD)
        follows = (0.7 * space - LENGTH - STANDSTILL) / task["headway"][:, None]
        speed = torch.minimum(0.8 * wanted, follows.clamp(min=0))
        speed[:, 0] = _AT_FIRST
        return {
            "x": x, "speed": speed, "lane": lane, "wanted": wanted, "target": speed[:, 0].clone(),
            "turn": rng.integers(rng.fold(keys, 3), 2),
        }  # fmt: skip

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        """The own car changes lanes first, then others: left and right in turn, so that no two meet in one gap."""
        drivers, lane, speed = self._drivers(task, state), state["lane"].clone(), state["speed"]
        sideways = (action == RIGHT).long() - (action == LEFT).long()
        lane[:, 0] = torch.minimum((lane[:, 0] + sideways).clamp(min=0), task["lanes"] - 1)
        faster = (action == FASTER).to(speed.dtype) - (action == SLOWER).to(speed.dtype)
        target = (state["target"] + STEP * faster).clamp(SLOWEST, FASTEST)
        apart, side = distances(state["x"], drivers.ring), 2 * state["turn"][:, None] - 1
        now = order(apart, lane, drivers.ring)
        struck = touched(now, now.ahead - LENGTH)  # before others can make way
        wish = wishes(apart, now, speed, lane, side, drivers) > 0
        wish[:, 0] = False
        lane = torch.where(wish, lane + side, lane)
        now = order(apart, lane, drivers.ring)
        x, speed, hit = moved(state["x"], speed, now, target, _RESPONSE, _LIMITS, drivers)
        hit = hit | struck
        after = state | {"x": x, "speed": speed, "lane": lane, "target": target, "turn": 1 - state["turn"]}
        pace = (1 - (speed[:, 0] - task["pays"]).abs() / _WIDTH).clamp(min=0)
        place = 1 - (lane[:, 0] / (task["lanes"] - 1) - task["side"]).abs()
        return Step(after, torch.where(hit, 0.0, _PACE * pace + _SIDE * place), hit)

    def observe(self, task: State, state: State) -> Tensor:
        lane, speed, ring = state["lane"], state["speed"], self._ring(task)[:, None]
        apart = state["x"] - state["x"][:, :1]
        ahead = torch.where(apart < 0, apart + ring, apart)
        behind = torch.where(ahead > 0, ring - ahead, ahead)
        looked = lane[:, :1] + torch.arange(-1, 2, device=lane.device)
        inside = lane[:, None, :] == looked[..., None]
        inside[:, :, 0] = False
        distance, which = torch.where(inside[:, :, None], torch.stack([ahead, behind], 1)[:, None], torch.inf).min(-1)
        gap = distance - LENGTH
        there = gap < _SIGHT
        faster = speed.gather(1, which.flatten(1)).view_as(gap) - speed[:, :1, None]
        around = torch.stack([
            there.to(gap.dtype), torch.where(there, gap / _SIGHT, 1.0), torch.where(there, faster / _UNIT, 0.0),
        ], -1)  # fmt: skip
        beside = torch.stack([lane[:, 0], task["lanes"] - 1 - lane[:, 0]], 1) / (MOST_LANES - 1)
        own = torch.stack([speed[:, 0], state["target"]], 1) / FASTEST
        return torch.cat([own, beside, around.flatten(1)], 1)

    def picture(self, task: State, state: State) -> Tensor:
        """From above, 100 m to either side of the own car, which stays in the middle."""
        x, lane, ring = (one.cpu().float() for one in (state["x"], state["lane"], self._ring(task)))
        picture = canvas(len(x), 4 * _WIDE, 2 * _LONG, torch.device("cpu"))
        beyond = torch.arange(4 * _WIDE)[None] >= _WIDE * task["lanes"].cpu()[:, None]
        picture = torch.where(beyond[:, :, None, None], torch.tensor(WALL), picture)
        ahead = (x - x[:, :1] + ring[:, None] / 2) % ring[:, None] - ring[:, None] / 2
        for car in range(x.shape[1] - 1, -1, -1):
            across = _WIDE * (lane[:, car] + 0.5)
            colour = OTHER if car else AGENT
            picture = boxes(picture, _LONG * (1 + ahead[:, car] / _SIGHT), across, 10.0, 8.0, colour)
        return picture

    def read(self, x: Tensor) -> Seen:
        """What an observation (n, 22 or more) says; what follows it, as of the past, is left out."""
        around = x[:, _OWN : self.observation[0]].reshape(len(x), 3, 2, 3)
        there = around[..., 0] > 0.5
        beside = (x[:, 2:_OWN] * (MOST_LANES - 1)).round()
        return Seen(
            x[:, 0] * FASTEST, x[:, 1] * FASTEST, beside[:, 0], beside[:, 1], there,
            torch.where(there, around[..., 1] * _SIGHT, torch.inf), around[..., 2] * _UNIT,
        )  # fmt: skip


@sources.register("highway")
def highway(
    *,
    cars: Size = 20,
    density: Range = (5.0, 20.0),
    lanes: tuple[int, int] = (2, MOST_LANES),
    wanted: Range = (18.0, 30.0),
    headway: Range = (0.8, 2.0),
    politeness: Range = (0.0, 1.0),
    pays: Range = (12.0, 32.0),
    horizon: Size = 40,
    past: bool = True,
) -> EnvironmentSource:
    """Environments: a highway whose traffic, and what pays, differ from task to task.

    cars: others on the road. density: cars for each kilometre of a lane. lanes: the fewest and the most. wanted: speeds
    that others want, m/s. headway: their time gap, seconds. politeness: how much they mind what others lose by their
    changes of lanes. pays: the speed that does, m/s. horizon: seconds of an episode, which a collision ends earlier.
    past: the agent sees what it did last and what that brought, which one that is to find out the rules needs.
    """
    made = Highway(
        cars=cars, density=density, lanes=lanes, wanted=wanted, headway=headway, politeness=politeness, pays=pays,
        horizon=horizon,
    )  # fmt: skip
    return EnvironmentSource.of(made, past)
