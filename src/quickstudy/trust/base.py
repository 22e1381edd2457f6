"""Trust: all that was fitted over tasks whose truth is known, as numbers that are stored as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from quickstudy.errors import CheckpointError
from quickstudy.storage.json import fitting
from quickstudy.trust.estimate import Estimator
from quickstudy.trust.evidence import FOLDS
from quickstudy.trust.quantiles import Quantiles
from quickstudy.trust.regress import Linear
from quickstudy.trust.space import Space

VERSION = 2
"""Of what is stored; later ones are refused."""
RATES = (0.01, 0.05, 0.1)
"""Of false alarms, at which exports tell what is known."""


@dataclass(frozen=True)
class Calibration:
    """What was fitted over tasks of one kind: with several examples of a class, or with one of each.

    temperature: log T of logits. known: the logit of the probability that an input is of one of the classes. alarms:
    quantiles of that logit, of inputs that are. sets: of minus the logit of the probability of the true class. known
    and alarms are None where no class could be kept from being shown. ways, shots: the least and the most of the tasks.
    """

    estimator: Estimator
    temperature: Linear
    sets: Quantiles
    known: Linear | None
    alarms: Quantiles | None
    ways: tuple[float, float]
    shots: tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """Of tasks of numbers. distances: of the log of how many scales the truth lies away. growth: of forecasts, by what
    scales grow with each step ahead, as far as validation tasks reach; () of all others."""

    distances: Quantiles
    growth: tuple[float, ...] = ()


@dataclass(frozen=True)
class Pixels:
    """Of tasks of masks. temperature: log T of the logits of each pixel. tasks: that it rests on."""

    temperature: Linear
    tasks: int


@dataclass(frozen=True)
class Trust:
    """How far the models of one run can be believed. single: of tasks with one example of each class. several: of
    others. Either is None where there were no such tasks. split: which tasks it was fitted over. folds: how many times
    examples of a support set are left out at most. intervals, pixels: in their place, of tasks of numbers and of masks.
    space: of embeddings of training classes; None where nothing is embedded, or it was not looked at.
    """

    single: Calibration | None
    several: Calibration | None
    split: str = "val"
    folds: int = FOLDS
    intervals: Intervals | None = None
    pixels: Pixels | None = None
    space: Space | None = None

    @property
    def strangers(self) -> bool:
        """Whether it says of inputs that they are of no class, so that classes are to be left out, too."""
        return any(part is not None and part.known is not None for part in (self.single, self.several))

    @property
    def rates(self) -> tuple[float, ...]:
        """Those of `RATES` that all kinds of tasks can promise."""
        kinds = [part.alarms for part in (self.single, self.several) if part is not None and part.alarms is not None]
        return tuple(
            r for r in RATES if kinds and all(at.levels and at.levels[0] <= r <= at.levels[-1] for at in kinds)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the version of what is stored."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: Any, what: str = "What is stored of trust") -> Trust:
        """The inverse of `to_json`; CheckpointError, naming the place, for what is no trust or newer."""
        facts = dict(fitting(value, dict[str, Any], what))
        version = facts.pop("version", None)
        if not isinstance(version, int) or version > VERSION:
            raise CheckpointError(
                f"{what} has version {version}, and this quickstudy reads up to {VERSION}. Upgrade with: pip install "
                "--upgrade quickstudy"
            )
        trust: Trust = _built(cls, fitting(facts, cls, what))
        return trust


def _built(hint: Any, value: Any) -> Any:
    """The value of type `hint` that plain data stand for."""
    if get_origin(hint) in (Union, UnionType):
        return None if value is None else _built(next(one for one in get_args(hint) if one is not type(None)), value)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        given = {one.name: _built(hints[one.name], value[one.name]) for one in fields(hint) if one.name in value}
        return hint(**given)  # type: ignore[operator]
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        return tuple(_built(inner[0] if inner[-1] is ... else inner[i], one) for i, one in enumerate(value))
    return float(value) if hint is float else value
