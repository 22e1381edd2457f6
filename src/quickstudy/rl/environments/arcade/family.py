"""The arcade: five games, each under many rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import compress, product
from typing import Literal

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.errors import ConfigError
from quickstudy.hints import Size
from quickstudy.registry import sources, targets
from quickstudy.rl.environment import Environment, Step
from quickstudy.rl.environments.arcade.board import HORIZON, KINDS, MOVES, NOTHING, SIZE, STILL, Game
from quickstudy.rl.environments.arcade.bricks import Bricks
from quickstudy.rl.environments.arcade.catch import Catch
from quickstudy.rl.environments.arcade.cross import Cross
from quickstudy.rl.environments.arcade.rules import PAYS, SWAPPED, combinations, plain, rules
from quickstudy.rl.environments.arcade.shoot import Shoot
from quickstudy.rl.environments.arcade.snake import Snake
from quickstudy.rl.pictures import cells
from quickstudy.rl.source import EnvironmentSource
from quickstudy.targets import Target

Name = Literal["catch", "cross", "snake", "bricks", "shoot"]
GAMES: dict[Name, Game] = {
    "catch": Catch(), "cross": Cross(), "snake": Snake(), "bricks": Bricks(), "shoot": Shoot(),
}  # fmt: skip
_CELL = 16  # pixels
_STICKS, _GAME = range(2)
_EASED = 1
_TOLD = 4  # numbers of `rules`
_PAID = 0.1  # about what a step brings that brings something


@dataclass(frozen=True, kw_only=True)
class Arcade(Environment):
    """Small games with dynamics of their own on a board of 10 × 10 cells, under rules that have to be found out.

    A task is a game with: how fast things move (once in 1, 2 or 3 steps), sticky actions (with a probability of 0, 0.1
    or 0.25 the move before is made again, Machado et al. 2018), controls that may be swapped (left with right, up with
    down), colours that may be (the figure's with that of the rest), and which of two kinds of things pays.
    What pays brings a reward, and the other kind costs as much, scaled so that the return of 100 steps lies in about
    [-1, 1]; doing anything is worth about 0. Which combinations of rules are for training, validation and tests is a
    pure function of them, see `rules.combinations`: none is in two splits.

    Seen are two times four planes (8, 10, 10), one for each kind of thing, as it is and what has changed since the step
    before, so that motion is seen; the rules are not. Five actions: still, left, right, up, down, in the task's order.

    games: those that tasks are of. plain: the share of training tasks in which it is settled that the first kind pays,
    and, drawn apart from that, the share in which controls are as they are; in the others these are drawn from all, as
    without it. Under all rules alike whatever a policy does without knowing them comes to 0, so that there is
    nothing to begin with; tasks of other splits are as they are.
    """

    games: tuple[Name, ...] = ("catch", "cross", "snake", "bricks", "shoot")
    horizon: int = HORIZON
    plain: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "games", tuple(self.games))
        if not 0 <= self.plain <= 1:
            raise ConfigError(f"plain is a share of training tasks, found {self.plain}. Give a number from 0 to 1.")
        if not self.games or len(set(self.games)) < len(self.games) or not set(self.games) <= set(GAMES):
            raise ConfigError(
                f"An arcade has one game or more of {', '.join(GAMES)}, each once, found {self.games}. Correct games."
            )

    @property
    def actions(self) -> Target:
        made: Target = targets.make("actions", count=MOVES, rules=_TOLD)
        return made

    @property
    def observation(self) -> tuple[int, ...]:
        return (2 * KINDS, SIZE, SIZE)

    def task(self, split: str, keys: Tensor) -> State:
        games = tuple(list(GAMES).index(name) for name in self.games)
        if split != "train" or not self.plain:
            held = combinations(split, games).to(keys.device)
            return rules(held[rng.integers(keys, len(held))])
        eased = rng.uniform(rng.fold(keys, _EASED), (len(SWAPPED),)) < self.plain
        codes = torch.empty_like(keys)
        for which in product((False, True), repeat=len(SWAPPED)):
            held = plain(games, tuple(compress(SWAPPED, which))).to(keys.device)
            drawn = held[rng.integers(keys, len(held))]
            codes = torch.where((eased == torch.tensor(which, device=keys.device)).all(1), drawn, codes)
        return rules(codes)

    def _each(self, task: State, play: Callable[[Game, Tensor], State]) -> State:
        """What `play` says of the lanes (m,) of each game, in the lanes' order."""
        lanes, said = [], []
        for number, game in enumerate(GAMES.values()):
            mine = (task["game"] == number).nonzero()[:, 0]
            if len(mine):
                lanes.append(mine)
                said.append(play(game, mine))
        back = torch.cat(lanes).argsort()
        return {name: torch.cat([one[name] for one in said])[back] for name in said[0]}

    def reset(self, task: State, keys: Tensor) -> State:
        begun = self._each(task, lambda game, lanes: game.reset(_of(task, lanes), keys[lanes]))
        return begun | {"last": torch.full_like(keys, STILL), "before": _planes(task, begun)}

    def step(self, task: State, state: State, action: Tensor, keys: Tensor) -> Step:
        again = rng.uniform(rng.fold(keys, _STICKS)) < task["sticky"]
        wanted = task["controls"].gather(1, action.clamp(0, MOVES - 1)[:, None])[:, 0]
        move, keys = torch.where(again, state["last"], wanted), rng.fold(keys, _GAME)

        board = {name: value for name, value in state.items() if name != "before"}

        def played(game: Game, lanes: Tensor) -> State:
            step = game.step(_of(task, lanes), _of(board, lanes), move[lanes], keys[lanes])
            return step.state | {"reward": step.reward, "ended": step.ended}

        after = self._each(task, played)
        reward, ended = after.pop("reward"), after.pop("ended")
        now = {"clock": state["clock"] + 1, "last": move, "before": _planes(task, state)}
        return Step(after | now, reward, ended)

    def observe(self, task: State, state: State) -> Tensor:
        """Each thing in the plane of its kind, as the task's colours have them; then what has changed since the step
        before: 1 where a thing has come, -1 where it has gone."""
        now = _planes(task, state)
        return torch.cat([now, now - state["before"]], 1)

    def rules(self, task: State) -> Tensor:
        """Whether left and right lead there, and up and down; which kind pays; and how fast things move."""
        actions = torch.arange(1, MOVES, 2, device=task["pays"].device)
        there = torch.where(task["controls"][:, actions] == actions, 1.0, -1.0)
        pays = torch.where(task["pays"] == PAYS[0], 1.0, -1.0)
        return torch.cat([there, pays[:, None], 2.0 - task["period"][:, None]], 1)

    def picture(self, task: State, state: State) -> Tensor:
        return cells(_planes(task, state).cpu(), _CELL)

    def oracle(self, task: State, state: State) -> Tensor:
        """Good actions (n,) of one who knows what cannot be seen; sticky ones are not reckoned with."""
        best = self._each(task, lambda game, lanes: {"move": game.oracle(_of(task, lanes), _of(state, lanes))})["move"]
        return (task["controls"] == best[:, None]).to(torch.uint8).argmax(1)


def _planes(task: State, state: State) -> Tensor:
    """The board, (n, 4, 10, 10)."""
    kind, count = state["kind"], KINDS * SIZE * SIZE
    plane = task["colours"].gather(1, kind.clamp(min=0))
    cell = (plane * SIZE + state["row"]) * SIZE + state["col"]
    cell = torch.where(kind == NOTHING, count, cell)
    seen = torch.zeros(len(kind), count + 1, device=kind.device).scatter_(1, cell, 1.0)
    return seen[:, :count].reshape(-1, KINDS, SIZE, SIZE)


def _of(state: State, lanes: Tensor) -> State:
    return {name: value[lanes] for name, value in state.items()}


@sources.register("arcade")
def arcade(
    *, games: tuple[Name, ...] = ("catch", "cross", "snake", "bricks", "shoot"), horizon: Size = HORIZON,
    plain: float = 0.0, past: bool = True,
) -> EnvironmentSource:  # fmt: skip
    """Environments: five small games with rules that differ from task to task.

    They are other speeds, sticky actions, swapped controls and colours and other rewards, on 10 × 10 cells.

    games: which of catch, cross, snake, bricks and shoot. horizon: steps of an episode. plain: the share of
    training tasks in which it is settled that the first kind pays and, drawn apart from that, the share in which
    controls are as they are; in the others these are drawn: a way into games in which, under all rules alike, whatever
    is done without knowing them comes to 0. past: the agent sees what it did last and what that brought, which one that
    is to find out the rules needs.
    """
    return EnvironmentSource.of(Arcade(games=games, horizon=horizon, plain=plain), past, unit=_PAID)
