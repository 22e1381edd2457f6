"""Bricks: a paddle sends a ball against a wall, and where it meets the ball decides where that goes."""

from __future__ import annotations

from typing import NamedTuple

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
    Game,
    copied,
    draw,
    empty,
    rightwards,
    some,
    ticks,
    towards,
    worth,
)  # fmt: skip

_PADDLE, _BALL, _BRICKS = slice(0, 3), 3, slice(4, 4 + SIZE)
_WALL, _LOW = 2, SIZE - 2  # the row of the bricks, and that in which a ball is saved
_FLIGHT = 2 * (_LOW - _WALL)  # cells from the paddle to the wall and back, a bounce counts as one
_BACK = 2 * _FLIGHT  # more than any ball needs to come down


class Bricks(Game):
    """A paddle of three cells in the lowest row, a ball, and a wall of ten bricks. The ball flies up to the left,
    straight or to the right as it meets the paddle's left, middle or right, and bounces off the sides and off bricks,
    each of which is followed by one of a kind by lot. A lost ball ends the episode."""

    def reset(self, rules: State, keys: Tensor) -> State:
        board = empty(keys)
        board["row"][:, _PADDLE] = SIZE - 1
        _put(board, draw(keys, 0, SIZE))
        board["row"][:, _BALL], board["col"][:, _BALL], board["kind"][:, _BALL] = _WALL + 2, draw(keys, 1, SIZE), REST
        board["down"][:, _BALL], board["right"][:, _BALL] = 1, draw(keys, 2, 3) - 1
        board["row"][:, _BRICKS], board["col"][:, _BRICKS] = _WALL, torch.arange(SIZE, device=keys.device)
        board["kind"][:, _BRICKS] = some(keys, 3, (SIZE,))
        return board

    def step(self, rules: State, board: State, move: Tensor, keys: Tensor) -> Step:
        board, tick = copied(board), ticks(rules, board)
        middle = (board["col"][:, 1] + rightwards(move)).clamp(0, SIZE - 1)
        _put(board, middle)
        ball, hit = _flown(_ball(board), tick)
        met = (ball.row > _LOW) & ((ball.col - middle).abs() <= 1)
        ball = Ball(
            torch.where(met, _LOW, ball.row), ball.col, torch.where(met, -1, ball.down),
            torch.where(met, ball.col - middle, ball.right),
        )  # fmt: skip
        for name, value in zip(Ball._fields, ball, strict=True):
            board[name][:, _BALL] = value
        kinds = board["kind"][:, _BRICKS]
        reward = (worth(rules, kinds) * hit).sum(1) * rules["period"] * (_FLIGHT / HORIZON)
        board["kind"][:, _BRICKS] = torch.where(hit, some(keys, 0)[:, None], kinds)
        return Step(board, reward, ball.row > _LOW)

    def oracle(self, rules: State, board: State) -> Tensor:
        """Under where the ball comes down, so that it is sent to a brick that pays."""
        kinds, ball, flown = board["kind"][:, _BRICKS], _ball(board), torch.zeros_like(board["clock"])
        for _ in range(_BACK):
            flies = (ball.row <= _LOW).long()
            ball, hit = _flown(ball, flies)
            kinds, flown = torch.where(hit, REST, kinds), flown + flies  # nobody knows what follows a brick
        time = flown * rules["period"] - board["clock"] % rules["period"]
        middle, best, aim = board["col"][:, 1], torch.full_like(time, -99), ball.col
        for right in (0, -1, 1):
            goal = (ball.col - right).clamp(0, SIZE - 1)
            brick = _met(Ball(torch.full_like(goal, _LOW), ball.col, torch.full_like(goal, -1), ball.col - goal))
            value = worth(rules, kinds).long().gather(1, brick[:, None])[:, 0]
            value = value - 9 * ((goal - middle).abs() > time)
            aim, best = torch.where(value > best, goal, aim), torch.maximum(value, best)
        return towards(middle, aim)


class Ball(NamedTuple):
    """Where a ball is and where it flies, each (n,)."""

    row: Tensor
    col: Tensor
    down: Tensor
    right: Tensor


def _ball(board: State) -> Ball:
    return Ball(*(board[name][:, _BALL] for name in Ball._fields))


def _put(board: State, middle: Tensor) -> None:
    """The paddle's three cells around this column, those that are beyond the edge left out, on this board."""
    cells = middle[:, None] + torch.arange(-1, 2, device=middle.device)
    board["col"][:, _PADDLE] = cells.clamp(0, SIZE - 1)
    board["kind"][:, _PADDLE] = torch.where((cells >= 0) & (cells < SIZE), FIGURE, NOTHING)


def _flown(ball: Ball, tick: Tensor) -> tuple[Ball, Tensor]:
    """The ball after as many cells as `tick` (n,) says, 0 or 1, and which brick it breaks, (n, 10) bool."""
    inside = (ball.col + ball.right >= 0) & (ball.col + ball.right < SIZE)
    right = torch.where(inside, ball.right, -ball.right)
    row, col = ball.row + ball.down, ball.col + right
    broke = row == _WALL
    after = Ball(
        torch.where(broke, ball.row, row), torch.where(broke, ball.col, col), torch.where(broke, 1, ball.down), right
    )
    hit = (torch.arange(SIZE, device=col.device) == col[:, None]) & (broke & (tick > 0))[:, None]
    return Ball(*(torch.where(tick > 0, new, old) for new, old in zip(after, ball, strict=True))), hit


def _met(ball: Ball) -> Tensor:
    """The column of the brick that a ball breaks which has just been saved, (n,)."""
    for _ in range(_LOW - _WALL):
        ball, hit = _flown(ball, torch.ones_like(ball.row))
    return hit.to(torch.uint8).argmax(1)
