"""What families put around Gymnasium's environments: rewards of their own, and goals that are not shown.

Attributes without a leading underscore are what tasks set. Only imported where Gymnasium is installed.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Direction(gymnasium.Wrapper):
    """HalfCheetah-Dir: d v − 0.05 ‖a‖² for the direction d, 1 or −1, and the velocity v of the root over a step (Finn
    et al. 2017)."""

    direction = 1.0

    def step(self, action: Any) -> Any:
        seen, _, terminated, truncated, info = self.env.step(action)
        return seen, self.direction * info["x_velocity"] + info["reward_ctrl"], terminated, truncated, info


class Velocity(gymnasium.Wrapper):
    """HalfCheetah-Vel: −|v − w| − 0.05 ‖a‖² for the wanted velocity w (Finn et al. 2017)."""

    velocity = 1.0

    def step(self, action: Any) -> Any:
        seen, _, terminated, truncated, info = self.env.step(action)
        return seen, info["reward_ctrl"] - abs(info["x_velocity"] - self.velocity), terminated, truncated, info


class Heading(gymnasium.Wrapper):
    """Ant-Dir: v · (cos φ, sin φ) + 0.05 − 0.005 ‖a‖² − 0.0005 ‖contact forces‖² for the angle φ and the velocity v of
    the torso in the plane; a force counts up to 1 (Rothfuss et al. 2019)."""

    angle = 0.0

    def step(self, action: Any) -> Any:
        seen, _, terminated, truncated, info = self.env.step(action)
        along = math.cos(self.angle) * info["x_velocity"] + math.sin(self.angle) * info["y_velocity"]
        rest = info["reward_ctrl"] + info["reward_contact"] + info["reward_survive"]
        return seen, along + rest, terminated, truncated, info


class HiddenGoal(gymnasium.Wrapper):
    """Reacher whose goal is a task's own and is not shown: cosines and sines of two joints, their velocities, and
    where the fingertip is.

    The goal is 0.2 √area from the middle at an angle: uniform in the disk where area is uniform in [0, 1).
    """

    angle, area = 0.0, 0.5

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = Box(-np.inf, np.inf, (8,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        _, info = self.env.reset(seed=seed, options=options)
        inner = self.env.unwrapped
        distance = 0.2 * math.sqrt(self.area)
        inner.goal = distance * np.array([math.cos(self.angle), math.sin(self.angle)])
        qpos = inner.data.qpos.copy()
        qpos[-2:] = inner.goal
        inner.set_state(qpos, inner.data.qvel.copy())
        return self._shown(inner._get_obs()), info

    def step(self, action: Any) -> Any:
        seen, *rest = self.env.step(action)
        return self._shown(seen), *rest

    def _shown(self, seen: Any) -> Any:
        """Of (cos, sin: 4; goal: 2; velocities: 2; fingertip − goal: 2)."""
        return np.concatenate([seen[:4], seen[6:8], seen[8:10] + self.env.unwrapped.data.qpos[-2:]])


class HiddenSpot(gymnasium.Wrapper):
    """Parking whose goal is a task's own spot, of 28, and is not shown: where the car is, its velocity and heading."""

    spot = 0

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = self.env.observation_space["observation"]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        seen, info = self.env.reset(seed=seed, options=options)
        inner = self.env.unwrapped
        network = inner.road.network
        lane = network.get_lane(sorted(network.lanes_dict())[self.spot])
        goal = inner.controlled_vehicles[0].goal
        goal.position, goal.heading = np.array(lane.position(lane.length / 2, 0)), lane.heading
        return seen["observation"], info

    def step(self, action: Any) -> Any:
        seen, *rest = self.env.step(action)
        return seen["observation"], *rest


class HiddenRules(gymnasium.Wrapper):
    """Highway-env under the rules of the source 'highway', seen as that is: the speed that pays and the side of the
    road that does are a task's own and are not shown."""

    pays, side = 22.0, 0.5

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = Box(-np.inf, np.inf, (22,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        _, info = self.env.reset(seed=seed, options=options)
        return self._shown(), info

    def step(self, action: Any) -> Any:
        _, _, terminated, truncated, info = self.env.step(action)
        car, lanes = self.env.unwrapped.vehicle, self.env.unwrapped.config["lanes_count"]
        pace = max(0.0, 1 - abs(car.speed - self.pays) / 10)
        place = 1 - abs(car.lane_index[2] / (lanes - 1) - self.side)
        reward = 0.0 if car.crashed else 0.8 * pace + 0.2 * place
        return self._shown(), reward, terminated, truncated, info

    def _shown(self) -> Any:
        inner = self.env.unwrapped
        car, lanes = inner.vehicle, inner.config["lanes_count"]
        lane = car.lane_index[2]
        seen = [car.speed / 35, car.target_speed / 35, lane / 3, (lanes - 1 - lane) / 3]
        for looked in (lane - 1, lane, lane + 1):
            others = [other for other in inner.road.vehicles if other is not car and other.lane_index[2] == looked]
            for way in (1, -1):
                apart = [(way * (other.position[0] - car.position[0]), other.speed) for other in others]
                distance, speed = min(((a, v) for a, v in apart if a > 0 or (a == 0 < way)), default=(math.inf, 0.0))
                gap = distance - car.LENGTH
                seen += [1.0, gap / 100, (speed - car.speed) / 20] if gap < 100 else [0.0, 1.0, 0.0]
        return np.array(seen)


class OneHotView(gymnasium.Wrapper):
    """The field of view of MiniGrid as planes of 0 and 1: which object, colour and state each cell has."""

    def __init__(self, env: Any) -> None:
        from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX

        super().__init__(env)
        sizes = len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(STATE_TO_IDX)
        height, width, _ = self.env.observation_space["image"].shape
        self._codes = [np.eye(size, dtype=np.uint8) for size in sizes]
        self.observation_space = Box(0, 1, (height, width, sum(sizes)), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        seen, info = self.env.reset(seed=seed, options=options)
        return self._shown(seen), info

    def step(self, action: Any) -> Any:
        seen, *rest = self.env.step(action)
        return self._shown(seen), *rest

    def _shown(self, seen: Any) -> Any:
        return np.concatenate([code[seen["image"][..., i]] for i, code in enumerate(self._codes)], -1)
