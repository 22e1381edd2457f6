"""What tasks differ in: numbers that are set in a simulator, drawn for each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quickstudy.errors import ConfigError

_LARGEST = 1 << 24  # of whole numbers that float32 holds
_FORMS = (
    "'length 0.3 0.7' draws numbers between two, 'size 5..9' whole numbers of a range, 'mode 0|4|8' one of those "
    "that are named, and 'gravity 9.8' sets one number for all"
)


@dataclass(frozen=True)
class Variation:
    """One number: uniform in [low, high), or one of a few. path: where it is set, by names, keys and indices."""

    path: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0
    choices: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return ".".join(self.path)

    def number(self, value: float) -> float:
        """A drawn number as it is set: those that were written as whole ones are whole."""
        whole = bool(self.choices) and all(isinstance(choice, int) for choice in self.choices)
        return int(value) if whole else float(value)


def variation(text: str) -> Variation:
    """What one entry of `vary` says.

    >>> variation("config.lanes 2..4").choices
    (2, 3, 4)
    """
    name, *words = text.split()
    path = tuple(name.split("."))
    if not all(path) or not words or len(words) > 2:
        raise _unclear(text)
    try:
        if len(words) == 2:
            low, high = map(float, words)
            if not -float("inf") < low < high < float("inf"):
                raise _unclear(text)
            return Variation(path, low, high)
        if ".." in words[0]:
            first, last = map(int, words[0].split(".."))
            choices: tuple[float, ...] = tuple(range(first, last + 1))
        else:
            choices = tuple(_written(word) for word in words[0].split("|"))
    except ValueError as error:
        raise _unclear(text) from error
    if not choices or len(set(choices)) < len(choices) or max(map(abs, choices)) > _LARGEST:
        raise _unclear(text)
    return Variation(path, choices=choices)


def _written(word: str) -> float:
    """The number that a word writes, whole if it is written so."""
    try:
        return int(word)
    except ValueError:
        return float(word)


def _unclear(text: str) -> ConfigError:
    return ConfigError(f"vary says what tasks differ in, a name and numbers, found {text!r}. {_FORMS}.")


@dataclass(frozen=True)
class Variations:
    """All of them, P numbers. level: every task has a seed of its own besides, from which each episode of it begins."""

    all: tuple[Variation, ...]
    level: bool = False

    def __post_init__(self) -> None:
        names = [one.name for one in self.all]
        if len(set(names)) < len(names):
            raise ConfigError(f"vary names one thing twice, found {', '.join(names)}. Name each once.")

    def require_some(self) -> None:
        """ConfigError where nothing varies."""
        if not self.level and all(len(one.choices) == 1 for one in self.all):
            raise ConfigError(
                f"All tasks would be the same: nothing varies. Say in what they differ by vary: {_FORMS}. If there is "
                "to be one environment, and no task beside it, say so: alone."
            )

    def require_none(self) -> None:
        """ConfigError where something varies."""
        varied = [one.name for one in self.all if len(one.choices) != 1] + ["level"] * self.level
        if varied:
            raise ConfigError(
                f"With alone there is one task, found that {', '.join(varied)} varies. Give one number for each, "
                "such as 'length 0.5', or leave alone out."
            )

    @classmethod
    def of(cls, texts: Sequence[str], level: bool) -> Variations:
        return cls(tuple(variation(text) for text in texts), level)

    def first(self) -> dict[str, float]:
        """The numbers of one task there may be."""
        return self.numbers([one.choices[0] if one.choices else one.low for one in self.all])

    def numbers(self, values: Sequence[float]) -> dict[str, float]:
        """P drawn numbers as they are set, by name."""
        return {one.name: one.number(value) for one, value in zip(self.all, values, strict=True)}
