"""Playing: an agent acts in many environments at once, one episode after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, State, leaves, map_features
from quickstudy.errors import DataError
from quickstudy.rl.checking import require_lanes, require_seen, require_step, theirs
from quickstudy.rl.environment import Environment
from quickstudy.spec import TaskSpec

Memory = dict[str, Tensor]
"""What an agent remembers in each lane, tensors (n, …)."""
Policy = Callable[[Memory, Features, Tensor], tuple[Memory, Tensor]]
"""(memory, features of one step (n, …), which lanes begin an episode (n,)) to the memory after it and a prediction
(n, outputs)."""
_ACTIONS, _STEPS, _RESETS = range(3)


class Played(NamedTuple):
    """Steps of n lanes, T of each.

    x: features, leaves (n, T, …). prediction: (n, T, outputs), as it was when the agent acted. action: (n, T) or (n, T,
    D). reward, worth: (n, T), what it was paid and what it is trained by. episode: (n, T), the number of each step's
    episode. ended, timed: (n, T) bool, whether its episode is over with it, by its own rules or because its time was
    up. mask: (n, T) bool, False after the last episode of a trial. after: (n, T), the value of what would have followed
    a step where time was up; 0 elsewhere.
    """

    x: Features
    prediction: Tensor
    action: Tensor
    reward: Tensor
    worth: Tensor
    episode: Tensor
    ended: Tensor
    timed: Tensor
    mask: Tensor
    after: Tensor


@dataclass(frozen=True)
class Stage:
    """Tasks that can be acted in. task: of n lanes, (n, …). keys: (n,): all chance comes from them. spec: of steps."""

    environment: Environment
    task: State
    keys: Tensor
    spec: TaskSpec

    def lanes(self, count: int) -> Stage:
        """Each task so many times in a row, with chance of its own."""
        task = {name: value.repeat_interleave(count, 0) for name, value in self.task.items()}
        return replace(self, task=task, keys=rng.split(self.keys, count).flatten())

    def sees(self, state: State, there: Tensor) -> None:
        """Told before each step: the state, and the lanes (n,) that it is of."""

    def saw(self, episode: Tensor, reward: Tensor) -> None:
        """Told after each step: the episode (n,) that it was of, and its reward (n,)."""

    @property
    def _format(self) -> Any:
        """The format 'steps'."""
        return self.spec.format

    def play(
        self,
        policy: Policy,
        memory: Memory,
        episodes: int,
        label: int = 0,
        anyhow: bool = False,
        apart: bool = False,
        beyond: bool = True,
    ) -> Played:
        """So many episodes of each lane, one after another, without gradients.

        label: of the play; others of the same stage have other chance. anyhow: do anything with equal chance, whatever
        the policy says. apart: an episode's first step tells nothing of the episode before. beyond: ask for the value
        of what would have followed where time was up; without, it is 0. Raises DataError, naming the environment, for
        rewards that are no finite numbers.
        """
        with torch.no_grad():
            return self._played(policy, memory, episodes, rng.fold(self.keys, label), anyhow, apart, beyond)

    def _played(
        self, policy: Policy, memory: Memory, episodes: int, keys: Tensor, anyhow: bool, apart: bool, beyond: bool
    ) -> Played:
        environment, task, count = self.environment, self.task, len(keys)
        actions, format = self.spec.target.require_actions("Playing", ""), self._format
        require_lanes(environment, "task", task, count)
        with theirs(environment, "reset"):
            state = environment.reset(task, rng.fold(keys, _RESETS))
        require_lanes(environment, "reset", state, count)
        reward = torch.zeros(count, device=keys.device)
        before = reward.new_zeros(count, actions.coding)
        first = torch.ones_like(reward, dtype=torch.bool)
        clock, episode = torch.zeros_like(keys), torch.zeros_like(keys)
        rows: list[tuple[Any, ...]] = []
        for t in range(episodes * environment.horizon):
            there = episode < episodes
            if t % environment.horizon == 0 and not bool(there.any()):
                break
            own = rng.fold(keys, 3 + t)
            self.sees(state, there)
            with theirs(environment, "observe"):
                seen = environment.observe(task, state)
            if t == 0:
                require_seen(environment, seen, count)
            x = format.seen(seen, before, reward, first)
            memory, prediction = policy(memory, x, first)
            draw = rng.fold(own, _ACTIONS)
            action = actions.anything(draw) if anyhow else actions.sample(prediction, draw)
            with theirs(environment, "step"):
                step = environment.step(task, state, action, rng.fold(own, _STEPS))
            if t == 0:
                require_step(environment, step, state, count)
            clock = clock + 1
            timed = (clock >= environment.horizon) & ~step.ended
            over = step.ended | timed
            asked = timed if beyond else torch.zeros_like(timed)
            after = self._value_after(policy, memory, step.state, action, step.reward, asked)
            self.saw(episode, step.reward)
            rows.append((x, prediction, action, step.reward, step.worth, episode, step.ended, timed, there, after))
            before, reward, first = actions.code(action, step.reward.dtype), step.reward, over
            if apart:
                before, reward = torch.where(over[:, None], 0.0, before), torch.where(over, 0.0, reward)
            if environment.horizon == 1 or bool(over.any()):
                with theirs(environment, "anew"):
                    state = environment.anew(task, step.state, over, rng.fold(own, _RESETS))
                clock, episode = torch.where(over, 0, clock), torch.where(over, episode + 1, episode)
            else:
                state = step.state
        return self._checked(rows, episodes * environment.horizon)

    def _value_after(
        self, policy: Policy, memory: Memory, state: State, action: Tensor, reward: Tensor, timed: Tensor
    ) -> Tensor:
        """The value of what would have followed where time was up, (n,); 0 elsewhere."""
        if not bool(timed.any()):
            return torch.zeros_like(reward)
        actions = self.spec.target.require_actions("Playing", "")
        x = self._format.seen(
            self.environment.observe(self.task, state), actions.code(action, reward.dtype), reward,
            torch.zeros_like(timed),
        )  # fmt: skip
        return torch.where(timed, actions.value(policy(memory, x, torch.zeros_like(timed))[1]), 0.0)

    def _checked(self, rows: list[tuple[Any, ...]], steps: int) -> Played:
        """All steps of trials, padded where a lane has ended before: nothing of it depends on other lanes."""

        def stacked(*values: Tensor) -> Tensor:
            found = torch.stack(values, 1)
            lacking = found.new_zeros((len(found), steps - found.shape[1], *found.shape[2:]))
            return torch.cat([found, lacking], 1) if steps > found.shape[1] else found

        x, *rest = zip(*rows, strict=True)
        played = Played(map_features(stacked, x[0], *x[1:]), *(stacked(*column) for column in rest))
        played = played._replace(x=map_features(lambda t: torch.where(_as(played.mask, t), t, 0.0), played.x))
        wrong = ~(torch.isfinite(played.reward) & torch.isfinite(played.worth)) & played.mask
        if bool(wrong.any()):
            where = int(wrong.nonzero()[0][1])
            raise DataError(
                f"{self.environment.name} gave a reward that is no finite number, in step {where + 1} of a "
                "trial. Mend the environment: nothing can be learned from it."
            )
        if not all(bool(torch.isfinite(leaf).all()) for leaf in leaves(played.x)):
            raise DataError(
                f"{self.environment.name} shows NaN or an infinite value. Mend the environment: nothing can be learned "
                "from it."
            )
        reward, worth = (torch.where(played.mask, paid, 0.0) for paid in (played.reward, played.worth))
        return played._replace(reward=reward, worth=worth)


def _as(mask: Tensor, like: Tensor) -> Tensor:
    """The mask with as many axes as another tensor, which it is multiplied with."""
    return mask.view(*mask.shape, *[1] * (like.dim() - mask.dim()))
