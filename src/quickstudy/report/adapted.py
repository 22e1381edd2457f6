"""The section about one new task that the run has just learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy.deploy.model import AdaptedModel, Predictions
from quickstudy.episode import Episode, Examples
from quickstudy.errors import DataError
from quickstudy.pages.html import Section, tile
from quickstudy.pages.pictures import are_images, letter
from quickstudy.report.measure import Drawn
from quickstudy.report.tasks import KEY, image_task


@dataclass(frozen=True, kw_only=True)
class AdaptedTask:
    """A task learned after training, to be shown in the report.

    model: what adaptation gave. support, query: inputs (n, *features) with the true class names `support_labels` and
    `labels`. predictions: the model's answers to `query`. milliseconds: what adaptation took. title: of the section.
    """

    model: AdaptedModel
    support: Tensor
    support_labels: Sequence[str]
    query: Tensor
    labels: Sequence[str]
    predictions: Predictions
    milliseconds: float
    title: str = "A new task, learned just now"

    def __post_init__(self) -> None:
        for name, x, labels in (
            ("support", self.support, self.support_labels),
            ("query", self.query, self.labels),
            ("query", self.query, self.predictions),
        ):
            if len(x) != len(labels):
                raise DataError(f"There are {len(x)} {name} examples but {len(labels)} labels. Give one for each.")
        for label in (*self.support_labels, *self.labels):
            if str(label) not in self.model.classes:
                raise DataError(
                    f"The label {label!r} is not a class of the adapted model ({', '.join(self.model.classes)}). "
                    "Give the names it was adapted with."
                )

    @property
    def accuracy(self) -> float:
        """Share of correct answers, in [0, 1]."""
        right = [str(label) == name for label, name in zip(self.labels, self.predictions.names, strict=True)]
        return sum(right) / max(1, len(right))


def _examples(x: Tensor, labels: Sequence[str], classes: tuple[str, ...]) -> Examples:
    y = torch.tensor([classes.index(str(label)) for label in labels])
    return Examples(x.cpu(), y, torch.ones(len(y), dtype=torch.bool))


def adapted_section(task: AdaptedTask) -> Section:
    """What it was shown, what it answered, and how long learning took."""
    classes, spec = task.model.classes, task.model.learner.spec
    shown = len(task.support)
    text = (
        f"After training, the network was given a task of the user's own: {shown} examples of {len(classes)} classes. "
        "Here is what it then answered."
    )
    tiles = tile("correct", f"{100 * task.accuracy:.0f} %", f"of {len(task.labels)} new examples", main=True)
    tiles += tile("time to learn it", f"{task.milliseconds:,.0f} ms", f"from {shown} examples")
    tiles += tile("pure chance", f"{100 / len(classes):.0f} %", f"guessing one of {len(classes)} classes")
    body = f'<div class="tiles">{tiles}</div>'
    if are_images(spec):
        episode = Episode(
            _examples(task.support, task.support_labels, classes), _examples(task.query, task.labels, classes)
        )
        legend = ", ".join(f"{letter(i)}: {name}" for i, name in enumerate(classes))
        drawn = Drawn(0, episode, list(classes), task.predictions.probabilities)
        body += f'<div class="tasks">{image_task(drawn, spec, legend)}</div>{KEY}'
    return Section(task.title, text, body)
