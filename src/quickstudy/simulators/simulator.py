"""One simulator: an environment of Gymnasium that is given a task, begins episodes and takes steps."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from quickstudy.errors import ConfigError, DataError
from quickstudy.simulators.making import Maker
from quickstudy.simulators.spaces import Done, Floats, Seen, done, finite, seen

_TRIED = 3  # steps, to see whether the same seed brings the same


class After(NamedTuple):
    """What follows an action: what is seen, the reward, and whether the episode is over by the environment's rules."""

    seen: Floats
    reward: float
    ended: bool


class Simulator:
    """Holds one environment, and uses it again for the next task where it can.

    horizon: steps after which an episode's time is up. The environment may say so then or later, but not before: it is
    not known what would have followed, and an end by its rules it is not.
    """

    def __init__(self, maker: Maker, horizon: int) -> None:
        self.maker, self.horizon = maker, horizon
        self._env: Any = None
        self._numbers: Sequence[float] | None = None
        self.clock, self.over = 0, True
        self.seen: Seen
        self.done: Done

    def begin(self, numbers: Sequence[float], seed: int) -> Floats:
        """What is seen at the beginning of an episode of the task with these numbers."""
        task = self.maker.variations.numbers(numbers)
        if self._env is None or (self.maker.file and numbers != self._numbers):
            self.close()
            self._env = self.maker.make(task)
            self.seen = seen(self._env.observation_space, self.maker.id)
            self.done = done(self._env.action_space, self.maker.id)
        if not self.maker.file:
            self.maker.set(self._env, task)
        self._numbers = numbers
        try:
            shown, _ = self._env.reset(seed=seed)
        except TypeError as error:
            if "seed" not in str(error):
                raise
            raise ConfigError(
                f"{self.maker.id} cannot be seeded ({error}), so that nothing could be repeated. Let its "
                "reset(*, seed=None, options=None) pass the seed on: super().reset(seed=seed)."
            ) from error
        if not self.maker.file:
            self.maker.check(self._env, task, "after its reset")
        self.clock, self.over = 0, False
        return self._read(shown)

    def step(self, action: Any) -> After:
        if self.over:
            raise DataError(f"{self.maker.id}: an episode is over and goes on nowhere. Begin another: anew(…).")
        shown, reward, terminated, truncated, _ = self._env.step(self.done.write(action))
        self.clock += 1
        reward = float(reward)
        if not math.isfinite(reward):
            raise DataError(
                f"{self.maker.id} gave the reward {reward} in step {self.clock} of an episode. Mend the environment: "
                "nothing can be learned from it."
            )
        if truncated and not terminated and self.clock < self.horizon:
            raise DataError(
                f"{self.maker.id} cut an episode off after {self.clock} steps (truncated), before its time was up. "
                f"Give horizon={self.clock} or less; or, where a rule ends it, let the environment say terminated."
            )
        self.over = bool(terminated) or bool(truncated)
        return After(self._read(shown), reward, bool(terminated))

    def picture(self) -> Any:
        """What it looks like to people, (height, width, 3) of 0 to 255; ConfigError where it cannot be drawn."""
        how = "gymnasium.make(…, render_mode=render_mode)" if self.maker.file else "a Python file that draws it"
        mode = getattr(self._env, "render_mode", None)
        if mode != "rgb_array":
            raise ConfigError(
                f"{self.maker.id} cannot be drawn: its render_mode is {mode!r} where 'rgb_array' was asked for. "
                f"Let make(…) take render_mode and pass it on: {how}."
            )
        try:
            drawn = np.asarray(self._env.render())
        except Exception as error:  # of graphics libraries, each of which has its own
            raise ConfigError(
                f"{self.maker.id} cannot be drawn here: {type(error).__name__}: {str(error)[:200]}. Classic "
                "environments need pygame (pip install 'quickstudy[video]'), and MuJoCo without a display "
                "MUJOCO_GL=egl or osmesa."
            ) from error
        if drawn.ndim != 3 or drawn.shape[2] != 3:
            raise ConfigError(
                f"{self.maker.id} was drawn as an array of the shape {drawn.shape}, expected (height, width, 3). Mend "
                "its render()."
            )
        return drawn

    def _read(self, shown: Any) -> Floats:
        value = self.seen.read(shown)
        if value.shape != self.seen.shape:
            raise DataError(
                f"{self.maker.id} shows {value.shape} where its observation_space promises {self.seen.shape}. Tasks of "
                "one family are seen alike: vary something else."
            )
        return finite(value, self.maker.id)

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None


@dataclass(frozen=True)
class Facts:
    """What is known of a family after one task of it was tried. seconds: of its quickest step."""

    shape: tuple[int, ...]
    count: int
    size: int
    seconds: float


def facts(maker: Maker, numbers: Sequence[float]) -> Facts:
    """Tries a task twice with the same seed and actions; ConfigError where that does not bring the same."""
    simulator = Simulator(maker, 1 << 30)
    try:
        (one, seconds), (other, _) = (_tried(simulator, numbers) for _ in range(2))
        if len(one) != len(other) or not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)):
            raise ConfigError(
                f"{maker.id} does not do the same twice after reset(seed=0), so that nothing could be repeated. Let it "
                "draw all chance from self.np_random, which super().reset(seed=seed) seeds."
            )
        return Facts(simulator.seen.shape, simulator.done.count, simulator.done.size, seconds)
    finally:
        simulator.close()


def _tried(simulator: Simulator, numbers: Sequence[float]) -> tuple[list[Any], float]:
    found: list[Any] = [simulator.begin(numbers, 0)]
    seconds = math.inf
    for t in range(_TRIED):
        count, size = simulator.done.count, simulator.done.size
        action = t % count if count else np.cos(np.arange(size) + t)
        began = time.perf_counter()
        after = simulator.step(action)
        seconds = min(seconds, time.perf_counter() - began)
        found += [after.seen, np.array([after.reward, after.ended])]
        if simulator.over:
            break
    return found, seconds
