"""Tables: one name for two runs, of which the labels choose."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

from quickstudy.deploy.model import Model
from quickstudy.errors import ConfigError
from quickstudy.gaps import missing
from quickstudy.runs.run import Run
from quickstudy.shipped.places import CLASSES, NUMBERS, TABLES, folder_of

_MANY = 2000  # rows: half a minute of one core, and a gigabyte
_log = logging.getLogger("quickstudy")


class Tables(Run):
    """The run that tells classes from rows, which hands labels that are numbers to the one that tells numbers.

    All but `adapt` is that of the classifier; `numbers` is the other run.
    """

    def __init__(self, device: str | None = None) -> None:
        super().__init__(folder_of(CLASSES), device=device)
        self._device = device

    @cached_property
    def numbers(self) -> Run:
        """The run that tells numbers."""
        return Run(folder_of(NUMBERS), device=self._device)

    @cached_property
    def classes(self) -> Run:
        """The run that tells classes, whatever they are called."""
        return Run(folder_of(CLASSES), device=self._device)

    def suited(self, labels: Iterable[Any]) -> Run:
        """The run for these labels: `numbers` if all of them are numbers, and one is not whole or more than
        `most` differ; else `classes`."""
        return self.numbers if are_numbers(labels, self.most) else self.classes

    def save_pretrained(self, folder: str | Path, **about: Any) -> Path:
        raise self._two()

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None, **about: Any) -> str:
        raise self._two()

    def _two(self) -> ConfigError:
        return ConfigError(
            f"{TABLES!r} is two runs, of which the labels choose, and a folder holds one. Give on "
            f"quickstudy.pretrained({CLASSES!r}) or quickstudy.pretrained({NUMBERS!r}), or both."
        )

    @property
    def most(self) -> int:
        """The most classes that can be told apart."""
        return self.config.ways

    def adapt(self, records: Any = None, labels: Any = None, *args: Any, **asked: Any) -> Model:
        """`Run.adapt` of the run that is `suited` to the labels, given or in the column `label` of the records."""
        told = labels
        if told is None and "label" in asked and records is not None:
            format = self.learner.spec.format.told(label=asked["label"])
            told = replace(self.learner.spec, format=format).find(records).labels
        if told is not None and len(told) > _MANY:
            _log.warning(
                "%d rows are read at once, in time and memory that grow with the square of their number. Where that is "
                "too much, give some hundred of them.",
                len(told),
            )
        chosen = self.suited(() if told is None else told)
        _log.info("The labels are %s.", "numbers, and numbers are told" if chosen is self.numbers else "classes")
        return chosen.adapt(records, labels, *args, **asked)


def are_numbers(labels: Iterable[Any], most: int) -> bool:
    """Whether labels are numbers that are told, rather than names of classes that happen to be written in digits."""
    listed = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    read = {_number(label) for label in listed if not missing(label)}  # of which the run says what it lacks
    if not read or None in read:
        return False
    return len(read) > most or any(not number.is_integer() for number in read if number is not None)


def _number(label: Any) -> float | None:
    """A label as a number, if it is one that is finite."""
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if isinstance(label, bool) or not isinstance(label, str | Real):
        return None
    try:
        value = float(label)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
