"""What was measured over many unseen tasks, and all that is needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from quickstudy.evaluation.estimate import Estimate
from quickstudy.evaluation.support_use import TASKS, SupportUse
from quickstudy.pages.notebook import card
from quickstudy.targets.metric import Metric, metric_named


@dataclass(frozen=True, repr=False)
class Result:
    """A metric over `episodes` tasks: mean, half-width of its 95 % confidence interval, and the value of every task.

    metric: the name of the target's headline, see `figure`. transductive: predictions used the whole query set.
    support: whether the learner uses its support sets, and baseline: what one reaches who answers without a look at the
    inputs (guessing, the mean …), over the same tasks; None where that was not measured. domains: the metric of each,
    where tasks are of several, all as many tasks; the mean is then that of domains, and the interval that of this mean,
    for these domains. further: the target's other metrics, in the unit of the
    headline, each over the tasks in which it is known. figures: what else the learner tells, see `Learner.figures`.
    references: the same metrics of others in the same tasks, by who that is, where what is seen depends on what is
    done; and of those that can be computed, of which count is 0.
    remedy: against ignored support sets. `str(result)` is what a paper prints: '98.9 ± 0.2 %'.
    """

    metric: str
    mean: float
    ci95: float
    episodes: int
    split: str
    ways: int
    shots: int
    queries: int
    seed: int
    transductive: bool
    steps: int | None
    values: list[float] = field(repr=False)
    seconds: float = 0.0
    commit: str = ""
    version: str = ""
    machine: str = ""
    support: SupportUse | None = None
    further: dict[str, Estimate] = field(default_factory=dict)
    figures: dict[str, Estimate] = field(default_factory=dict)
    references: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    baseline: Estimate | None = None
    remedy: str = ""
    domains: dict[str, Estimate] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.figure.interval(self.mean, self.ci95)

    def __repr__(self) -> str:
        guess = "" if self.baseline is None else f"; without a look {self._beside(self.baseline)}"
        return f"Result({self.figure.words} {self} over {self.episodes} {self.split} tasks, {self.size}{guess})"

    def _beside(self, one: Estimate) -> str:
        return self.figure.interval(one.mean, one.ci95)

    @property
    def size(self) -> str:
        """Of the tasks, in words."""
        ways = f"{self.ways}-way " if self.ways > 1 else ""
        return f"{ways}{self.shots}-shot, {self.queries} queries{' a class' if ways else ''}"

    def _repr_html_(self) -> str:
        rows = [
            (self.figure.words, str(self)),
            *self.also().items(),
            *([("without a look", self._beside(self.baseline))] if self.baseline is not None else []),
            *((name, str(one)) for name, one in self.figures.items()),
            *((name, self._beside(one)) for name, one in self.domains.items()),
            ("tasks", f"{self.episodes} of {self.split}, {self.size}"),
            *([("transductive", "sees all questions of a task at once")] if self.transductive else []),
            *([("warning", self.warning)] if self.warning else []),
        ]
        return card(f"Over {self.episodes} unseen tasks", rows)

    @property
    def figure(self) -> Metric:
        """The metric: its direction, and how it reads to people."""
        return metric_named(self.metric)

    def also(self) -> dict[str, str]:
        """The target's other metrics in words, as people read them."""
        return {n.replace("_", " "): self.figure.interval(one.mean, one.ci95) for n, one in self.further.items()}

    @property
    def ignores_support(self) -> bool:
        """Whether another task's support set served as well as a task's own, as far as the interval can tell."""
        return self.support is not None and self.support.ignored

    @property
    def warning(self) -> str:
        """One line for whoever reads the result, if the learner ignores its support set; '' if all is well.

        Nothing is said of evaluations with 0 inner steps, which are made to ignore it.
        """
        if not self.ignores_support or self.steps == 0:
            return ""
        few = "" if self.support is None or self.support.tasks >= TASKS else " Evaluate more tasks to be surer of it."
        return (
            f"The learner ignores its support set: {self.support}. It guesses the task without it, or has not learned "
            f"to use it: train longer, on more tasks, with {self.remedy}, or with weight decay (--optimizer-options "
            f"weight_decay 0.01).{few}"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `to_json`; results of versions that did not look at the support set have no `support`."""
        support, baseline = data.get("support"), data.get("baseline")
        several = ("further", "figures", "domains")
        read = {
            "support": None if support is None else SupportUse.from_json(support),
            **{part: {name: Estimate(**one) for name, one in data.get(part, {}).items()} for part in several},
            "references": {
                who: {name: Estimate(**one) for name, one in each.items()}
                for who, each in data.get("references", {}).items()
            },
            "baseline": None if baseline is None else Estimate(**baseline),
        }
        return cls(**{**data, **read})
