"""An answer in a notebook: a small table with a drawing of each record."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from quickstudy.brief import Brief
from quickstudy.episode import Features, State, leaves, map_features
from quickstudy.formats.base import Format
from quickstudy.pages.notebook import Html, grid
from quickstudy.pages.pictures import rendered
from quickstudy.targets.answers.base import Answer

_ROWS, _COLUMNS = 10, 6  # that are shown


@dataclass(frozen=True, eq=False)
class Shown(Brief):
    """The first few records that were asked about, as the format has stored them, to be drawn if anybody looks.

    x: (m, …). fitted: what the format learned of the task.
    """

    format: Format
    x: Features | None
    fitted: State

    @classmethod
    def of(cls, format: Format, x: Features, fitted: State, answers: int) -> Shown:
        """answers: to how many records; where records are not one row each, as those of a long recording are, they are
        not drawn."""
        alone = len(leaves(x)[0]) == answers and not format.labels_itself
        return cls(format, map_features(lambda t: t[:_ROWS].clone(), x) if alone else None, fitted)

    def __call__(self, answer: Answer) -> str:
        """The answer as HTML."""
        pictures = self._pictures(min(_ROWS, len(answer)))
        columns = [*([""] if pictures else []), *answer.columns[:_COLUMNS]]
        rows: list[list[str]] = [
            [_text(cell) for cell in answer.row(i)[:_COLUMNS]] for i in range(min(_ROWS, len(answer)))
        ]
        if pictures:
            rows = [[picture, *row] for picture, row in zip(pictures, rows, strict=True)]
        hidden = (("row", len(answer) - _ROWS), ("column", len(answer.columns) - _COLUMNS))
        more = ", ".join(f"{count} further {what}{'' if count == 1 else 's'}" for what, count in hidden if count > 0)
        title = f"{len(answer)} answer{'' if len(answer) == 1 else 's'}"
        return grid(title, columns, rows, f"and {more}: answer.frame()" if more else "")

    def _pictures(self, count: int) -> list[str]:
        if self.x is None:
            return []
        x = self.format.features(self.x, self.fitted)
        drawn = [self.format.draw(map_features(partial(torch.select, dim=0, index=i), x)) for i in range(count)]
        return [Html(rendered(one, "record")) if one is not None else "" for one in drawn] if any(drawn) else []


def _text(cell: Any) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
