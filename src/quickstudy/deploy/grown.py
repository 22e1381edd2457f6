"""What an adapted model was and is where it grows, and what that does to what it knew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, NamedTuple, get_args

from torch import Tensor

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.partly import partly_encoded
from quickstudy.deploy.support import Kept
from quickstudy.episode import Examples, State
from quickstudy.errors import DataError, unknown_name
from quickstudy.learners import Learner
from quickstudy.tally import Tally
from quickstudy.targets.metric import Metric, metric_named

IfWorse = Literal["say", "refuse"]
"""What to do with a change after which a model is worse on the examples that it knew: say so, or refuse it."""


class Grown(NamedTuple):
    """What a model is after a change. support: how many examples it knows. effect: on those it knew. examples: all of
    them, as the learner has learned from them; None where they are not kept."""

    learner: Learner
    state: State
    names: tuple[str, ...]
    fitted: State
    kept: Kept | None
    tally: Tally | None
    support: int
    effect: Effect | None
    examples: Examples | None = None


@dataclass(frozen=True)
class Effect:
    """How a model answers for the `count` examples that it knew and still knows, before and after a change: means of
    the headline. held_out: each was held out in turn, so that it was not learned from."""

    metric: Metric
    before: float
    after: float
    count: int
    held_out: bool

    @property
    def worse(self) -> bool:
        return self.metric.better(self.before, self.after)

    def __str__(self) -> str:
        number = self.metric.number
        how = "each held out in turn" if self.held_out else "which it has learned from"
        return (
            f"On the {self.count} examples that it knew, {how}, {self.metric.words}: {number(self.before)} before, "
            f"{number(self.after)} after"
        )

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Effect:
        """The inverse of `to_json`."""
        return cls(**{**stored, "metric": metric_named(stored["metric"])})

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric.name, "before": self.before, "after": self.after, "count": self.count,
            "held_out": self.held_out,
        }  # fmt: skip


def places(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """The numbers of classes among others, by name; −1 for one that is none of them."""
    number: Mapping[str, int] = {name: i for i, name in enumerate(after)}
    return [number.get(name, -1) for name in before]


def encoded(model: Adapted, labels: Any, count: int) -> tuple[Tensor, tuple[str, ...]]:
    """Encoded labels of so many further examples, and the names of their classes."""
    if labels is None:
        raise DataError(
            f"The further {model.spec.format.what} need a label each. Give them: model.more(records, labels)."
        )
    target = model.spec.target.taking(labels)
    y, names = partly_encoded(target, labels, model.learner.semi_supervised)
    if not count:
        raise DataError(f"There is no further {model.spec.format.example} to learn from. Give one at least.")
    if len(y) != count:
        raise DataError(f"There are {count} further examples but {len(y)} labels. Give one label for each.")
    return y, names


def require_two(model: Adapted, names: Sequence[str]) -> None:
    """DataError where fewer than two classes are left."""
    if model.spec.target.relabels and len(names) < 2:
        left = f"only {names[0]!r}" if names else "none"
        raise DataError(f"Of {len(model.names)} classes {left} would be left, and a model tells at least two apart.")


def require_known(if_worse: IfWorse) -> None:
    """ConfigError for what is nothing to do with a change for the worse."""
    if if_worse not in get_args(IfWorse):
        raise unknown_name("thing to do with a change for the worse", str(if_worse), get_args(IfWorse))


def listed(given: Any) -> list[Any]:
    """One thing, or several in an array of one axis, a list or a set, as a list."""
    if hasattr(given, "tolist") and len(getattr(given, "shape", ())) < 2:
        given = given.tolist()
    return list(given) if isinstance(given, list | tuple | range | Set) else [given]


def indices(examples: Any, count: int) -> list[int] | None:
    """The indices that `examples` are, or that a mask of all marks; None where they are records. DataError for one that
    is of no example."""
    given = listed(examples)
    if not given or not all(isinstance(one, Integral) for one in given):
        return None
    if all(isinstance(one, bool) for one in given):
        if len(given) != count:
            raise DataError(
                f"The mask marks {len(given)} examples, and the model was adapted to {count}. Give one value for each."
            )
        return [i for i, one in enumerate(given) if one]
    for one in given:
        if not -count <= one < count:
            raise DataError(f"There is no example {one}: the model was adapted to {count}, counted from 0.")
    return sorted({int(one) % count for one in given})
