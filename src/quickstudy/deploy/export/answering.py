"""The graph of an adapted model: what goes in is what the format stores, what comes out is what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.deploy.export.subject import Subject
from quickstudy.entries import reference
from quickstudy.episode import Features
from quickstudy.errors import ConfigError
from quickstudy.formats.records import moved
from quickstudy.learners.frozen import frozen
from quickstudy.targets.base import Distribution
from quickstudy.trust.pixels import PixelTrust
from quickstudy.trust.task import TaskTrust


class Answering(nn.Module):
    """Tensors that enter, in the order of `inputs`, to outputs by name. The same arithmetic as `Model.answer`."""

    def __init__(self, subject: Subject, inputs: Sequence[str]) -> None:
        super().__init__()
        if subject.state is None:
            raise ConfigError("Nothing is learned yet, so that there is nothing to answer. Export it with adapt=True.")
        self._subject, self._inputs = subject, tuple(inputs)
        self._frozen = frozen(subject.learner, subject.params, subject.state)

    def forward(self, *given: Tensor) -> dict[str, Tensor]:
        subject = self._subject
        spec, trust = subject.spec, subject.task_trust
        x = entered(subject, dict(zip(self._inputs, given, strict=True)))
        units = spec.format.units(subject.fitted)
        if isinstance(trust, TaskTrust):
            logits, z = self._embedded(x)
            judged = trust.judge(logits, z)
            said = spec.target.said(Distribution(judged.logits), units) | {"logits": logits}
            return said if judged.known is None else said | {"known": judged.known}
        answer = self._frozen.predictive(x)
        answer = Distribution(self._frozen(x)) if answer is None else answer
        raw = answer.mean
        if isinstance(trust, PixelTrust):
            return spec.target.said(Distribution(trust.tempered(raw))) | {"logits": raw}
        return spec.target.said(answer, units)

    def _embedded(self, x: Features) -> tuple[Tensor, Any]:
        """As `Model` embeds what it is asked."""
        subject, after = self._subject, self._subject.learner.embedded
        if after is None or subject.state is None:
            logits: Tensor = self._frozen(x)
            return logits, x
        z = subject.learner.embed(subject.params, x)
        return after.predict(subject.params, subject.state, z), after.compared(subject.params, z)


def entered(subject: Subject, given: dict[str, Tensor]) -> Features:
    """Features of what enters a graph, in the precision of φ."""
    return moved(subject.spec.format.entered(given, subject.fitted), reference(subject.params))


def answered(module: nn.Module, *given: Tensor) -> dict[str, Tensor]:
    """What a module says, by PyTorch, without gradients."""
    with torch.no_grad():
        said: dict[str, Tensor] = module(*given)
    return said
