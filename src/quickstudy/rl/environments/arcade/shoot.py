"""Shoot: at what pays among what flies by, and away from what it drops."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import State
from quickstudy.rl.environment import Step
from quickstudy.rl.environments.arcade.board import (
    FIGURE,
    HORIZON,
    NOTHING,
    REST,
    SIZE,
    STILL,
    UP,
    Game,
    copied,
    draw,
    empty,
    rightwards,
    signs,
    some,
    ticks,
    towards,
    worth,
)  # fmt: skip

_TARGETS, _SHOT, _BOMB = slice(1, 4), 4, 5
_ROWS = (1, 2, 3)
_HITS = 10  # that can be had in an episode
_DROPS = 4  # one bomb in so many steps, where none falls


class Shoot(Game):
    """The figure moves along the lowest row, and UP sends a shot up, one cell in a step, where none flies. Three
    targets fly in three rows, each to the left or to the right, and come back on the other side, of a kind by lot. One
    that is hit is followed by another. Now and then a target drops a bomb, which falls as fast as they fly; where it
    hits the figure the episode ends."""

    def reset(self, rules: State, keys: Tensor) -> State:
        board = empty(keys)
        board["row"][:, 0], board["col"][:, 0], board["kind"][:, 0] = SIZE - 1, draw(keys, 0, SIZE), FIGURE
        board["row"][:, _TARGETS] = torch.tensor(_ROWS, device=keys.device)
        board["col"][:, _TARGETS] = draw(keys, 1, SIZE, (3,))
        board["right"][:, _TARGETS] = signs(keys, 2, (3,))
        board["kind"][:, _TARGETS] = some(keys, 3, (3,))
        return board

    def step(self, rules: State, board: State, move: Tensor, keys: Tensor) -> Step:
        board, tick = copied(board), ticks(rules, board)
        row, col, kind = board["row"], board["col"], board["kind"]
        col[:, 0] = (col[:, 0] + rightwards(move)).clamp(0, SIZE - 1)
        flies = kind[:, _SHOT] != NOTHING
        row[:, _SHOT] -= flies.long()
        at = (row[:, _TARGETS] == row[:, _SHOT, None]) & flies[:, None]
        after, come = _flown(board, tick)
        hit = at & ((col[:, _TARGETS] == col[:, _SHOT, None]) | (after == col[:, _SHOT, None]))
        reward = (worth(rules, kind[:, _TARGETS]) * hit).sum(1) / _HITS
        new = hit | come
        col[:, _TARGETS] = torch.where(hit, draw(keys, 0, SIZE, (3,)), after)
        kind[:, _TARGETS] = torch.where(new, some(keys, 1, (3,)), kind[:, _TARGETS])
        spent = flies & (hit.any(1) | (row[:, _SHOT] <= 0))
        fired = (move == UP) & ~flies
        kind[:, _SHOT] = torch.where(fired, FIGURE, torch.where(spent, NOTHING, kind[:, _SHOT]))
        row[:, _SHOT] = torch.where(fired, SIZE - 2, row[:, _SHOT])
        col[:, _SHOT] = torch.where(fired, col[:, 0], col[:, _SHOT])
        return Step(board, reward, self._bombed(board, tick, keys))

    def _bombed(self, board: State, tick: Tensor, keys: Tensor) -> Tensor:
        """Let bombs fall, on this board; whether one has hit."""
        row, col, kind = board["row"], board["col"], board["kind"]
        falls = kind[:, _BOMB] == REST
        row[:, _BOMB] += falls * tick
        low = falls & (row[:, _BOMB] == SIZE - 1)
        struck = low & (col[:, _BOMB] == col[:, 0])
        dropped = ~falls & (draw(keys, 2, _DROPS) == 0)
        who = 1 + draw(keys, 3, 3)[:, None]
        kind[:, _BOMB] = torch.where(dropped, REST, torch.where(low, NOTHING, kind[:, _BOMB]))
        row[:, _BOMB] = torch.where(dropped, row.gather(1, who)[:, 0] + 1, row[:, _BOMB])
        col[:, _BOMB] = torch.where(dropped, col.gather(1, who)[:, 0], col[:, _BOMB])
        return struck

    def oracle(self, rules: State, board: State) -> Tensor:
        """Fires where the shot will meet what pays, goes to where it would, and keeps from under bombs."""
        row, col, kind = board["row"], board["col"], board["kind"]
        own, rows = col[:, :1], row[:, _TARGETS]
        wait = SIZE - 1 - rows  # steps until a shot fired now has reached the row, in which it also meets what leaves
        right = board["right"][:, _TARGETS]
        before, meets = ((col[:, _TARGETS] + right * ticks(rules, board, at)) % SIZE for at in (wait - 1, wait))
        value = worth(rules, kind[:, _TARGETS])
        there = (meets == own) | (before == own)
        good, bad = (there & (value > 0)).any(1), (there & (value < 0)).any(1)
        ready = kind[:, _SHOT] == NOTHING
        cost = torch.where(value > 0, (meets - own).abs(), HORIZON)
        least, which = cost.min(1)
        aim = torch.where(least < HORIZON, meets.gather(1, which[:, None])[:, 0], own[:, 0])
        move = torch.where(good & ~bad & ready, UP, towards(own[:, 0], aim))
        threat = (kind[:, _BOMB] == REST) & (row[:, _BOMB] >= SIZE - 3)
        lands = (own[:, 0] + rightwards(move)).clamp(0, SIZE - 1)
        middle = towards(own[:, 0], torch.where(own[:, 0] < SIZE // 2, SIZE, -1))
        aside = torch.where(own[:, 0] == col[:, _BOMB], middle, STILL)
        return torch.where(threat & (lands == col[:, _BOMB]), aside, move)


def _flown(board: State, tick: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of the targets after a step, and which have come back on the other side."""
    after = board["col"][:, _TARGETS] + board["right"][:, _TARGETS] * tick[:, None]
    return after % SIZE, (after < 0) | (after >= SIZE)
