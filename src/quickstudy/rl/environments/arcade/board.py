"""What all games of the arcade share: a board of 10 × 10 cells, the things on it, and five moves."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import State
from quickstudy.rl.environment import Step

SIZE, THINGS, KINDS = 10, 20, 4
FIGURE, ONE, OTHER, REST = range(KINDS)
NOTHING = -1
STILL, LEFT, RIGHT, UP, DOWN = range(5)
MOVES = 5
HORIZON = 100


class Game(ABC):
    """The dynamics of one game: pure functions of tensors with a leading axis of lanes, n.

    A state is a board: 'row', 'col', 'down', 'right' and 'kind', (n, 20) int64, of things whose kind is one of FIGURE
    (what the player moves), ONE, OTHER (of which one pays) and REST, or NOTHING where there is none; and 'clock' (n,),
    the steps since the episode began. Rules are 'pays' (n,), ONE or OTHER, and 'period' (n,), in how many steps things
    move once. What pays brings a reward and what does not costs as much, scaled so that playing well for 100 steps is
    worth about 1.
    """

    @abstractmethod
    def reset(self, rules: State, keys: Tensor) -> State:
        """The board at the beginning."""

    @abstractmethod
    def step(self, rules: State, board: State, move: Tensor, keys: Tensor) -> Step:
        """What follows a move (n,), one of STILL, LEFT, RIGHT, UP, DOWN."""

    @abstractmethod
    def oracle(self, rules: State, board: State) -> Tensor:
        """A good move (n,) of one who knows the board and the rules."""


def empty(keys: Tensor) -> State:
    """A board without things, for each of the keys (n,)."""
    nothing = torch.zeros(len(keys), THINGS, dtype=torch.int64, device=keys.device)
    board = {name: nothing.clone() for name in ("row", "col", "down", "right")}
    return board | {"kind": torch.full_like(nothing, NOTHING), "clock": nothing[:, 0].clone()}


def copied(board: State) -> State:
    """The same board, which may be written on."""
    return {name: value.clone() for name, value in board.items()}


def draw(keys: Tensor, label: int, high: int, shape: tuple[int, ...] = ()) -> Tensor:
    """Whole numbers below `high`, (n, *shape); another label, other ones."""
    return rng.integers(rng.fold(keys, label), high, shape)


def some(keys: Tensor, label: int, shape: tuple[int, ...] = ()) -> Tensor:
    """ONE or OTHER, by lot."""
    return draw(keys, label, 2, shape) + ONE


def signs(keys: Tensor, label: int, shape: tuple[int, ...] = ()) -> Tensor:
    """-1 or 1, by lot."""
    return 2 * draw(keys, label, 2, shape) - 1


def downwards(move: Tensor) -> Tensor:
    """How many rows a move goes down: -1, 0 or 1."""
    return (move == DOWN).long() - (move == UP).long()


def rightwards(move: Tensor) -> Tensor:
    """How many columns a move goes to the right: -1, 0 or 1."""
    return (move == RIGHT).long() - (move == LEFT).long()


def ticks(rules: State, board: State, steps: int | Tensor = 1) -> Tensor:
    """How often things move within so many steps from now on, (n,) or as `steps` (n, …)."""
    after = board["clock"] + steps if isinstance(steps, int) else _beside(board["clock"], steps) + steps
    period = _beside(rules["period"], after)
    return after // period - _beside(board["clock"], after) // period


def _beside(one: Tensor, other: Tensor) -> Tensor:
    """(n,) with as many axes as `other` has."""
    return one.view(-1, *[1] * (other.dim() - 1))


def worth(rules: State, kind: Tensor) -> Tensor:
    """Of things of this kind (n, …): 1 where it pays, -1 where it is the one that does not, 0 for all else."""
    pays = kind == _beside(rules["pays"], kind)
    return 2 * pays.to(torch.float32) - ((kind == ONE) | (kind == OTHER)).to(torch.float32)


def towards(col: Tensor, goal: Tensor) -> Tensor:
    """The move that brings the column nearer to the goal."""
    return torch.where(goal > col, RIGHT, torch.where(goal < col, LEFT, STILL))
