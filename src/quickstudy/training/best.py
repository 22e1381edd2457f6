"""The best validation so far, and what else a checkpoint holds beside φ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from quickstudy.targets.metric import Metric
from quickstudy.training.choice import ChoiceStored


@dataclass
class Best:
    """The best validation so far."""

    value: float = math.nan
    step: int = -1

    def improves(self, value: float, metric: Metric) -> bool:
        return self.step < 0 or math.isnan(self.value) or metric.better(value, self.value)


class BestStored(TypedDict):
    """`Best` as JSON."""

    value: float
    step: int


class Facts(TypedDict):
    """What a checkpoint holds beside φ. window: loss and metric of each step since the last line of metrics."""

    seconds: float
    best: BestStored
    window: list[tuple[float, float]]
    choice: NotRequired[ChoiceStored]
