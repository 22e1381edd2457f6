"""Catch: things fall, and some should be caught."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import State
from quickstudy.rl.environment import Step
from quickstudy.rl.environments.arcade.board import (
    FIGURE,
    HORIZON,
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

_FALL, _ROWS = slice(1, 4), (0, 3, 6)


class Catch(Game):
    """The figure moves along the lowest row; three things fall, one row at a time, and where one reaches the lowest row
    in the figure's column it is caught. Another falls from a column that is drawn. The episode does not end early."""

    def reset(self, rules: State, keys: Tensor) -> State:
        board = empty(keys)
        board["row"][:, 0], board["col"][:, 0], board["kind"][:, 0] = SIZE - 1, draw(keys, 0, SIZE), FIGURE
        board["row"][:, _FALL] = torch.tensor(_ROWS, device=keys.device)
        board["col"][:, _FALL] = draw(keys, 1, SIZE, (3,))
        board["kind"][:, _FALL] = some(keys, 2, (3,))
        return board

    def step(self, rules: State, board: State, move: Tensor, keys: Tensor) -> Step:
        board, tick = copied(board), ticks(rules, board)
        col, row = board["col"], board["row"]
        col[:, 0] = (col[:, 0] + rightwards(move)).clamp(0, SIZE - 1)
        row[:, _FALL] += tick[:, None]
        down = row[:, _FALL] == SIZE - 1
        caught = down & (col[:, _FALL] == col[:, :1])
        reward = (worth(rules, board["kind"][:, _FALL]) * caught).sum(1)
        for name, new in (("row", 0), ("col", draw(keys, 0, SIZE, (3,))), ("kind", some(keys, 1, (3,)))):
            board[name][:, _FALL] = torch.where(down, new, board[name][:, _FALL])
        share = 2 * (SIZE - 1) * rules["period"] / (3 * HORIZON)  # of about as many as pay
        return Step(board, reward * share, torch.zeros_like(down[:, 0]))

    def oracle(self, rules: State, board: State) -> Tensor:
        """To where what pays comes down first, of what can be reached; out of the way of what does not."""
        col, own = board["col"][:, _FALL], board["col"][:, :1]
        period = rules["period"][:, None]
        left = (SIZE - 1 - board["row"][:, _FALL]) * period - board["clock"][:, None] % period
        value, away = worth(rules, board["kind"][:, _FALL]), (col - own).abs()
        wait = torch.where((value > 0) & (away <= left), left, HORIZON)
        first, which = wait.min(1)
        aim = torch.where(first < HORIZON, col.gather(1, which[:, None])[:, 0], own[:, 0])
        falls = (value < 0) & (left == 1)
        step = towards(own[:, 0], aim)
        lands = (own[:, 0] + rightwards(step))[:, None]
        bad = (falls & (col == lands)).any(1)
        aside = towards(own[:, 0], torch.where(own[:, 0] < SIZE // 2, SIZE - 1, 0))
        return torch.where(bad, torch.where(step == 0, aside, 0), step)
