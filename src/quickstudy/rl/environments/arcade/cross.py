"""Cross: over a road of four lanes, to the right one of two gates."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import State
from quickstudy.rl.environment import Step
from quickstudy.rl.environments.arcade.board import (
    FIGURE,
    MOVES,
    REST,
    SIZE,
    Game,
    copied,
    downwards,
    draw,
    empty,
    rightwards,
    signs,
    some,
    ticks,
    worth,
)  # fmt: skip

_GATES, _CARS, _LANES = slice(1, 1 + SIZE), slice(11, 19), 4
_TOP, _START = 2, 3 + _LANES  # rows
_TRIPS = 12  # that can be made in an episode


class Cross(Game):
    """The figure walks up to the gates, one of each kind, that are the two halves of a row; between are four rows with
    two cars each, which drive to the left or to the right and come back on the other side. Through a gate it is back
    where it began, and the gates may have changed; a car takes it back by a row. The episode does not end early."""

    def reset(self, rules: State, keys: Tensor) -> State:
        board = empty(keys)
        board["row"][:, 0], board["col"][:, 0], board["kind"][:, 0] = _START, draw(keys, 0, SIZE), FIGURE
        board["row"][:, _GATES], board["col"][:, _GATES] = _TOP, torch.arange(SIZE, device=keys.device)
        board["kind"][:, _GATES] = _gates(keys)
        board["row"][:, _CARS] = torch.arange(_TOP + 1, _START, device=keys.device).repeat_interleave(2)
        first = draw(keys, 2, SIZE, (_LANES,))
        board["col"][:, _CARS] = torch.stack([first, (first + SIZE // 2) % SIZE], 2).flatten(1)
        board["right"][:, _CARS] = signs(keys, 3, (_LANES,)).repeat_interleave(2, 1)
        board["kind"][:, _CARS] = REST
        return board

    def step(self, rules: State, board: State, move: Tensor, keys: Tensor) -> Step:
        board, tick = copied(board), ticks(rules, board)
        row, col = _walked(board, move)
        hit, cars = _hit(board, row, col, tick)
        through = row == _TOP
        reward = worth(rules, board["kind"][:, _GATES]).gather(1, col[:, None])[:, 0] * through / _TRIPS
        board["col"][:, _CARS] = cars
        board["row"][:, 0], board["col"][:, 0] = torch.where(through, _START, row + hit.long()), col
        board["kind"][:, _GATES] = torch.where(through[:, None], _gates(keys), board["kind"][:, _GATES])
        return Step(board, reward, torch.zeros_like(hit))

    def oracle(self, rules: State, board: State) -> Tensor:
        """The move that is not hit and brings the gate that pays nearest."""
        value, tick = worth(rules, board["kind"][:, _GATES]), ticks(rules, board)
        lanes = torch.arange(SIZE, device=value.device)
        costs = []
        for move in range(MOVES):
            row, col = _walked(board, torch.full_like(tick, move))
            hit, _ = _hit(board, row, col, tick)
            aside = ((lanes - col[:, None]).abs() + 99 * (value < 0)).min(1).values
            wrong = (row == _TOP) & (aside > 0)
            costs.append(row + aside + 1.5 * hit + 99 * wrong)
        return torch.stack(costs, 1).argmin(1)


def _gates(keys: Tensor) -> Tensor:
    """The kind of each cell of the gates, (n, 10): one for the left half and the other for the right."""
    left = some(keys, 1)
    return torch.stack([left, left.bitwise_xor(3)], 1).repeat_interleave(SIZE // 2, 1)  # of 1 and 2 the other


def _walked(board: State, move: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of the figure after a move."""
    row, col = board["row"][:, 0] + downwards(move), board["col"][:, 0] + rightwards(move)
    return row.clamp(_TOP, _START), col.clamp(0, SIZE - 1)


def _hit(board: State, row: Tensor, col: Tensor, tick: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a car is, or comes, to where the figure is; and the columns of the cars after it."""
    rows, cols = board["row"][:, _CARS], board["col"][:, _CARS]
    after = (cols + board["right"][:, _CARS] * tick[:, None]) % SIZE
    return ((rows == row[:, None]) & ((cols == col[:, None]) | (after == col[:, None]))).any(1), after
