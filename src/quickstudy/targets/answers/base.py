"""The contract of an answer: what a model says of n inputs, in the user's own names and units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from torch import Tensor

from quickstudy.errors import ConfigError, MissingExtra
from quickstudy.targets.reported import Covered


class Answer(ABC):
    """Answers for n inputs: iterates, indexes, and becomes a table.

    `columns` and `rows()` are the table; `table()` is the same as a mapping from columns to lists, and `frame()` a data
    frame.
    """

    _shown: Callable[[Answer], str] | None = None

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """What the table's columns are called."""

    @abstractmethod
    def row(self, index: int) -> tuple[Any, ...]:
        """The cells of input `index`: texts and numbers."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """The answer for one input, short."""

    @property
    @abstractmethod
    def prediction(self) -> Tensor:
        """What it says as predictions (n, *prediction_shape) of its target, to be held against labels."""

    @property
    def maps(self) -> Tensor | None:
        """The probability of each class at each pixel, (n, N, height, width), where that is the answer."""
        return None

    def covered(self, y: Tensor) -> list[Covered]:
        """What was promised to hold the labels y (n, *shape), at each level, and whether it does; nothing where answers
        promise nothing."""
        return []

    def told(self, index: int) -> str:
        """The answer for one input as people read it."""
        return str(self[index])

    @property
    def refused(self) -> Tensor | None:
        """Which inputs are taken for none of what it tells, (n,) bool; None where that was not asked for."""
        return None

    def believed(
        self, known: Tensor | None, accepted: Tensor | None, inside: Tensor | None, coverage: float | None = None
    ) -> Answer:
        """The same answer with how far it can be believed; ConfigError where nothing tells. See `ClassAnswer`."""
        raise ConfigError(f"Nothing tells how far a {type(self).__name__} can be believed.")

    def between(self, half: Tensor, level: float) -> Answer:
        """The same answer with intervals; ConfigError where it is no numbers. See `NumberAnswer`."""
        raise ConfigError(f"A {type(self).__name__} has no intervals: these are of numbers.")

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows of the table."""
        return [self.row(index) for index in range(len(self))]

    def table(self) -> dict[str, list[Any]]:
        """The table by columns."""
        rows = self.rows()
        return {name: [row[i] for row in rows] for i, name in enumerate(self.columns)}

    def frame(self) -> Any:
        """The table as a data frame of pandas; MissingExtra where that is not installed."""
        return frame_of(self.columns, self.rows())

    def shown_by(self, show: Callable[[Answer], str]) -> Self:
        """The same answer, which `show` turns into HTML where a notebook asks for it."""
        object.__setattr__(self, "_shown", show)  # frozen: of how it looks, not of what it says
        return self

    def _repr_html_(self) -> str | None:
        return None if self._shown is None else self._shown(self)


def frame_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """A table as a data frame of pandas; MissingExtra where that is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra("pandas", "data", "A data frame of answers") from error
    return pandas.DataFrame(list(rows), columns=list(columns))
