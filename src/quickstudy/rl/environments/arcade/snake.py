"""Snake: eat what pays, grow, and do not bite yourself."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import State
from quickstudy.rl.environment import Step
from quickstudy.rl.environments.arcade.board import (
    DOWN,
    FIGURE,
    LEFT,
    NOTHING,
    ONE,
    OTHER,
    REST,
    RIGHT,
    SIZE,
    STILL,
    UP,
    Game,
    copied,
    downwards,
    draw,
    empty,
    rightwards,
    ticks,
    worth,
)  # fmt: skip

_FOOD, _LONGEST = slice(1, 3), 8
_BODY = slice(3, 3 + _LONGEST)
_MEALS = 15  # that can be had in an episode


class Snake(Game):
    """The head goes on in its direction at every step, on a board whose edges meet, and its tail follows. Two morsels
    drift to the right, one cell in twice the period. What pays makes it longer by one, up to 8; where the head meets
    the tail the episode ends. It does not turn back on itself."""

    def reset(self, rules: State, keys: Tensor) -> State:
        board, place = empty(keys), draw(keys, 0, SIZE, (2,))
        board["row"][:, 0], board["col"][:, 0], board["right"][:, 0] = place[:, 0], place[:, 1], 1
        board["kind"][:, 0] = FIGURE
        board["row"][:, _FOOD], board["col"][:, _FOOD] = draw(keys, 1, SIZE, (2,)), draw(keys, 2, SIZE, (2,))
        board["kind"][:, _FOOD] = torch.tensor([ONE, OTHER], device=keys.device)
        back = torch.arange(1, 1 + _LONGEST, device=keys.device)
        board["row"][:, _BODY] = board["row"][:, :1]
        board["col"][:, _BODY] = (board["col"][:, :1] - back) % SIZE
        board["kind"][:, _BODY] = torch.where(back <= 2, REST, NOTHING)
        return board

    def step(self, rules: State, board: State, move: Tensor, keys: Tensor) -> Step:
        down, right = _turned(board, move)
        row, col, bitten = _crept(board, down, right)
        before, board = board, copied(board)
        drift = ticks(rules | {"period": 2 * rules["period"]}, before)
        board["col"][:, _FOOD] = (before["col"][:, _FOOD] + drift[:, None]) % SIZE
        eaten = (board["row"][:, _FOOD] == row[:, None]) & (board["col"][:, _FOOD] == col[:, None])
        value = worth(rules, board["kind"][:, _FOOD]) * eaten
        for label, (name, new) in enumerate((("row", row), ("col", col))):
            board[name][:, _BODY] = torch.cat([before[name][:, :1], before[name][:, _BODY][:, :-1]], 1)
            board[name][:, 0] = new
            board[name][:, _FOOD] = torch.where(eaten, draw(keys, label, SIZE, (2,)), board[name][:, _FOOD])
        longer = (before["kind"][:, _BODY] == REST).sum(1) + (value > 0).any(1)
        there = torch.arange(_LONGEST, device=row.device) < longer[:, None]
        board["kind"][:, _BODY] = torch.where(there, REST, NOTHING)
        board["down"][:, 0], board["right"][:, 0] = down, right
        return Step(board, value.sum(1) / _MEALS, bitten)

    def oracle(self, rules: State, board: State) -> Tensor:
        """The way that does not bite, nor eat what does not pay, and brings what pays nearest."""
        pays = worth(rules, board["kind"][:, _FOOD])
        costs = []
        for move in (LEFT, RIGHT, UP, DOWN):
            row, col, bitten = _crept(board, *_turned(board, torch.full_like(board["clock"], move)))
            away = _around(board["row"][:, _FOOD] - row[:, None]) + _around(board["col"][:, _FOOD] - col[:, None])
            goal = (away * (pays > 0)).sum(1)
            costs.append(goal + 99 * bitten + 50 * ((away == 0) & (pays < 0)).any(1))
        return torch.stack(costs, 1).argmin(1) + LEFT


def _turned(board: State, move: Tensor) -> tuple[Tensor, Tensor]:
    """The direction after a move: rows downwards and columns to the right."""
    down, right = downwards(move), rightwards(move)
    before_down, before_right = board["down"][:, 0], board["right"][:, 0]
    kept = (move == STILL) | ((down == -before_down) & (right == -before_right))
    return torch.where(kept, before_down, down), torch.where(kept, before_right, right)


def _crept(board: State, down: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The head's row and column after a step, and whether it bites the tail, whose end has then moved on."""
    row, col = (board["row"][:, 0] + down) % SIZE, (board["col"][:, 0] + right) % SIZE
    body = board["kind"][:, _BODY] == REST
    stays = torch.cat([body[:, 1:], torch.zeros_like(body[:, :1])], 1)
    there = (board["row"][:, _BODY] == row[:, None]) & (board["col"][:, _BODY] == col[:, None])
    return row, col, (stays & there).any(1)


def _around(apart: Tensor) -> Tensor:
    """The distance on a board whose edges meet."""
    return torch.minimum(apart % SIZE, -apart % SIZE)
