"""What is told of one adapted model on labelled records: figures, what each name was found by, what was promised."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


def numeral(value: float) -> str:
    """A number to four digits, and up to ten millions to the nearest whole one: no exponents in prices.

    >>> numeral(0.12345), numeral(24134.56), numeral(5.823e8)
    ('0.1235', '24135', '5.823e+08')
    """
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"


class Figure(NamedTuple):
    """A figure of one model. name: in files. value: a scalar. percent: a share, shown times 100. units: of the value,
    for people. higher: whether more is better. least, most: what it can be. beside: whether what one says who does not
    look has this figure, too."""

    name: str
    value: Tensor
    percent: bool = False
    units: str = ""
    higher: bool = False
    least: float = 0.0
    most: float = math.inf
    beside: bool = True

    @classmethod
    def of_share(cls, name: str, value: Tensor, higher: bool = True) -> Figure:
        """A share of something."""
        return cls(name, value, True, "", higher, 0.0, 1.0 if higher else math.inf)  # an error rate may exceed 1

    def within(self, value: float) -> float:
        """The value, no less and no more than it can be."""
        return min(max(value, self.least), self.most)

    def between(self, low: float, high: float) -> str:
        """'85.1 to 93.0 %': an interval of it; '' if it has no ends."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return ""
        first, last = self.show(low), self.show(high)
        return f"{first.removesuffix(' %' if self.percent else f' {self.units}')} to {last}"

    def show(self, value: float) -> str:
        """'98.9 %', '0.352', '21.5 °C': a value of it."""
        return f"{100 * value:.1f} %" if self.percent else f"{numeral(value)}{f' {self.units}' if self.units else ''}"


class Hits(NamedTuple):
    """How one name of a model's answers was found. true: how often it is right to say it; said: how often it was said;
    both: how often it was said rightly. Of records, or of pixels where each has an answer."""

    name: str
    true: int
    said: int
    both: int

    @property
    def recall(self) -> float:
        """The share found of what there is; NaN where there is none."""
        return self.both / self.true if self.true else float("nan")

    @property
    def precision(self) -> float:
        """The share that is right of what was said; NaN where it was never said."""
        return self.both / self.said if self.said else float("nan")

    @property
    def iou(self) -> float:
        """What was said rightly, of what is so or was said."""
        either = self.true + self.said - self.both
        return self.both / either if either else float("nan")


class Covered(NamedTuple):
    """What an answer promised to hold the truth, and whether it does. what: 'intervals', 'sets'. level: how often it
    should. inside: (n,) bool. size: (n,), of the interval in the label's units, or of the set."""

    what: str
    level: float
    inside: Tensor
    size: Tensor
