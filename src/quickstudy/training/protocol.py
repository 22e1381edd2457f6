"""What of a published evaluation a recipe is measured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One figure of a published evaluation: what is measured, and what others report.

    steps: inner steps at evaluation (None: the learner's). published: the figure in `source`, in % for accuracy.
    target: what this recipe means to reach; `error` says that figure and target are error rates (100 − accuracy).
    gain: what it means to reach, in points above the untrained network. scratch_rates: inner rates of which the
    untrained network is given its best on validation tasks; empty leaves it the learner's own.
    """

    name: str
    ways: int = 5
    shots: int = 1
    queries: int = 15
    episodes: int = 1000
    steps: int | None = None
    split: str = "test"
    published: float | None = None
    source: str = ""
    target: float | None = None
    error: bool = False
    gain: float | None = None
    scratch_rates: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Protocol:
        """The inverse of `asdict`, of what has the fields of a protocol."""
        return cls(**{name: tuples(value) for name, value in data.items()})


def tuples(value: Any) -> Any:
    """JSON has no tuples; options that are sequences are tuples everywhere."""
    return tuple(tuples(v) for v in value) if isinstance(value, list) else value
