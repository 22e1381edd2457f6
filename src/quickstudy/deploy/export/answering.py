"""The graph of an adapted model: what goes in is what the format stores, what comes out is what it says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quickstudy.deploy.export.subject import Subject
from quickstudy.deploy.forward import Forward
from quickstudy.entries import reference
from quickstudy.episode import Features
from quickstudy.errors import ConfigError
from quickstudy.formats.records import moved
from quickstudy.trust.heard import Heard


class Answering(nn.Module):
    """Tensors that enter, in the order of `inputs`, to outputs by name. The same arithmetic as `Model.answer`."""

    def __init__(self, subject: Subject, inputs: Sequence[str]) -> None:
        super().__init__()
        if subject.state is None:
            raise ConfigError("Nothing is learned yet, so that there is nothing to answer. Export it with adapt=True.")
        self._subject, self._inputs = subject, tuple(inputs)
        self._forward = Forward(subject.learner, subject.params, subject.state)
        self._frozen = self._forward.frozen  # a part of this module, whose tensors belong to the graph

    def forward(self, *given: Tensor) -> dict[str, Tensor]:
        subject = self._subject
        spec, trust = subject.spec, subject.task_trust
        x = entered(subject, dict(zip(self._inputs, given, strict=True)))
        units = spec.format.units(subject.fitted)
        heard = Heard(self._forward.said(x)) if trust is None else trust.heard(self._forward, x)
        said = spec.target.said(heard.said, units)
        if heard.raw is not None:
            said["logits"] = heard.raw
        return said if heard.known is None else said | {"known": heard.known}


def entered(subject: Subject, given: dict[str, Tensor]) -> Features:
    """Features of what enters a graph, in the precision of φ."""
    return moved(subject.spec.format.entered(given, subject.fitted), reference(subject.params))


def answered(module: nn.Module, *given: Tensor) -> dict[str, Tensor]:
    """What a module says, by PyTorch, without gradients."""
    with torch.no_grad():
        said: dict[str, Tensor] = module(*given)
    return said
