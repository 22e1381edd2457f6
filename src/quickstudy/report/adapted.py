"""The section about one new task that the run has just learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from quickstudy.deploy.model import Model
from quickstudy.episode import Episode, Examples, Features, leaves, map_features
from quickstudy.errors import DataError
from quickstudy.pages.html import Section, tile
from quickstudy.pages.pictures import letter
from quickstudy.report.cards import KEY, a_drawing, class_card, list_card
from quickstudy.report.measure import Drawn
from quickstudy.report.words import counted
from quickstudy.targets.answers.base import Answer


@dataclass(frozen=True, kw_only=True)
class AdaptedTask:
    """A task learned after training, to be shown in the report.

    model: what adaptation gave. support, query: records (or features) as the model takes them, with their true labels
    `support_labels` and `labels`, in the user's own names or units. answer: the model's to `query`. milliseconds: what
    adaptation took. title: of the section.
    """

    model: Model
    support: Any
    support_labels: Sequence[Any]
    query: Any
    labels: Sequence[Any]
    answer: Answer
    milliseconds: float
    title: str = "A new task, learned just now"

    def __post_init__(self) -> None:
        for name, part, count in (
            ("support", self.episode.support, len(self.support_labels)),
            ("query", self.episode.query, len(self.labels)),
            ("query", self.episode.query, len(self.answer)),
        ):
            records = len(leaves(part.x)[0])
            if records != count:
                raise DataError(f"There are {records} {name} examples but {count} labels. Give one for each.")

    @cached_property
    def episode(self) -> Episode:
        """Both sets as the learner saw them, with labels in the user's units, on the CPU.

        Raises DataError for labels that the model does not know.
        """
        return Episode(self._examples(self.support, self.support_labels), self._examples(self.query, self.labels))

    def _examples(self, records: Any, labels: Sequence[Any]) -> Examples:
        format, target = self.model.spec.format, self.model.spec.target
        fitted = {name: value.cpu() for name, value in self.model.fitted.items()}
        x: Features = format.features(map_features(lambda t: t.cpu(), format.store(records).x), fitted)
        y = target.known(labels, self.model.names)
        return Examples(x, y, torch.ones(len(y), dtype=torch.bool))

    @property
    def value(self) -> float:
        """The headline of the target over the queries, such as the share of correct answers."""
        return float(self.model.spec.target.score(self.answer.prediction, self.episode.query))

    @property
    def baseline(self) -> float:
        """The same for who answers without a look at the queries."""
        target = self.model.spec.target
        return float(target.score(target.baseline(*self.episode), self.episode.query))

    def numbers(self) -> dict[str, Any]:
        """What report.json says of it."""
        return {
            "classes": list(self.model.names),
            self.model.spec.target.metric.name: self.value,
            "baseline": self.baseline,
            "queries": len(self.labels),
            "milliseconds": self.milliseconds,
        }


def adapted_section(task: AdaptedTask) -> Section:
    """What it was shown, what it answered, and how long learning took."""
    spec, names = task.model.spec, task.model.names
    metric, example = spec.target.metric, spec.format.example
    shown, classes = counted(example, len(task.support_labels)), f" of {len(names)} classes" if names else ""
    text = (
        f"After training, the network was given a task of the user's own: {shown}{classes}. Here is what it then "
        "answered."
    )
    tiles = tile(
        metric.title, metric.number(task.value), f"over {counted(f'new {example}', len(task.labels))}", main=True
    )
    tiles += tile("time to learn it", f"{task.milliseconds:,.0f} ms", f"from {shown}")
    tiles += tile(spec.target.guess, metric.number(task.baseline), "without a look at what is asked")
    body = f'<div class="tiles">{tiles}</div>'
    one = a_drawing(spec.format, task.episode.support.x)
    if one is not None:
        drawn = Drawn(0, task.episode, spec, list(names), task.answer.prediction)
        if drawn.predicted and one.small:
            legend = ", ".join(f"{letter(i)}: {name}" for i, name in enumerate(names))
            body += f'<div class="tasks">{class_card(drawn, legend)}</div>{KEY}'
        else:
            said = [task.answer.told(i) for i in range(len(task.answer))]
            body += f'<div class="tasks wide">{list_card(drawn, "Some of it", said)}</div>'
    return Section(task.title, text, body)
