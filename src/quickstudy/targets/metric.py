"""The figures that tasks are judged by: their names, which direction is better, and how they read to people."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quickstudy.errors import ConfigError, unknown_name
from quickstudy.registry import targets


@dataclass(frozen=True)
class Metric:
    """A figure of one task. name: in stored files. label: in tables. words: in sentences and on axes.

    short: of one task, 'correct' in '60 % correct'; the words if not given. percent: it is a share, shown times 100;
    one that is better higher lies in [0, 1].
    """

    name: str
    label: str
    words: str
    higher_is_better: bool
    percent: bool = False
    short: str = ""

    @property
    def title(self) -> str:
        """The short words, or what there is."""
        return self.short or self.words

    @property
    def axis(self) -> str:
        """The title of an axis of it."""
        return f"{self.words} (%)" if self.percent else self.words

    @property
    def scale(self) -> float:
        """What values are multiplied by where they are shown."""
        return 100.0 if self.percent else 1.0

    def show(self, value: float) -> str:
        """'accuracy 98.9 %', 'MSE 0.352': a value in a line of progress."""
        return f"{self.label} {self.number(value)}"

    def number(self, value: float) -> str:
        """'98.9 %', '0.352'."""
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3f}"

    def of_one(self, value: float) -> str:
        """'60 % correct', 'squared error 0.352': the value of a single task, of which no more digits are known."""
        return f"{100 * value:.0f} % {self.title}" if self.percent else f"{self.title} {value:.3g}"

    def interval(self, mean: float, ci95: float) -> str:
        """'98.9 ± 0.2 %', '0.352 ± 0.014': what a paper prints."""
        if self.percent:
            return f"{100 * mean:.1f} ± {100 * ci95:.1f} %"
        digits = max(2, 1 - math.floor(math.log10(ci95))) if 0 < ci95 < math.inf else 3
        return f"{mean:.{digits}f} ± {ci95:.{digits}f}"

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is better than `other`; nothing is better than NaN is, and NaN is better than nothing."""
        if math.isnan(other):
            return not math.isnan(one)
        return one > other if self.higher_is_better else one < other

    def goodness(self, value: float) -> float:
        """The value, or minus it, so that higher is better."""
        return value if self.higher_is_better else -value


_KNOWN: dict[str, Metric] = {}


_TAKEN = ("loss", "step", "split", "seconds", "note", "ci95", "lr", "episodes_per_second")  # in lines of metrics


def announce(metric: Metric) -> None:
    """Make a metric known by its name, so that stored figures can be shown again.

    ConfigError for a name that another metric has, or that stands for something else in stored figures.
    """
    if metric.name in _TAKEN or _KNOWN.setdefault(metric.name, metric) != metric:
        known = _KNOWN.get(metric.name)
        other = "what runs write beside it" if known is None else f"another metric ({known.words})"
        raise ConfigError(f"The metric {metric.name!r} ({metric.words}) has the name of {other}. Choose another name.")


def _announced() -> None:
    """Wait for the registered targets, which announce their metrics when they are imported."""
    list(targets)


def metric_named(name: str) -> Metric:
    """The metric that stored figures call `name`; ConfigError if no registered target has it."""
    _announced()
    if name not in _KNOWN:
        raise unknown_name("metric", name, _KNOWN)
    return _KNOWN[name]


def headline(figures: dict[str, float]) -> Metric | None:
    """The first known metric among figures by name, if there is any."""
    _announced()
    return next((metric for name, metric in _KNOWN.items() if name in figures), None)
