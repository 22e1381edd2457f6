"""The graph that still learns: support examples, labels and queries in, answers out, of any number of each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quickstudy.deploy.export.answering import entered
from quickstudy.deploy.export.believed import believed
from quickstudy.deploy.export.subject import Subject
from quickstudy.episode import Examples, leaves
from quickstudy.errors import ConfigError
from quickstudy.learners import Learner
from quickstudy.targets.distribution import Distribution


class Embedding(nn.Module):
    """Tensors that enter to embeddings (n, D)."""

    def __init__(self, subject: Subject, inputs: Sequence[str]) -> None:
        super().__init__()
        self._subject, self._inputs = subject, tuple(inputs)

    def forward(self, *given: Tensor) -> dict[str, Tensor]:
        subject = self._subject
        x = entered(subject, dict(zip(self._inputs, given, strict=True)))
        return {"embedding": leaves(subject.learner.embed(subject.params, x))[0]}


class Heading(nn.Module):
    """Embeddings of support examples (m, D), labels (m, …), of classes arange(N), and embeddings (n, D) of queries."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._subject = subject

    def forward(self, *given: Tensor) -> dict[str, Tensor]:
        known, labels, *classes, z = given
        return self._learned(known, labels, z, classes[0] if classes else None)

    def _learned(self, known: Tensor, labels: Tensor, z: Tensor, classes: Tensor | None) -> dict[str, Tensor]:
        subject, params = self._subject, self._subject.params
        after = embedded(subject)
        if classes is not None:
            after = after.at(after.spec.at(classes.shape[0]))
        support = Examples(known, labels, torch.ones_like(known[:, 0], dtype=torch.bool))
        logits = after.predict(params, after.adapt(params, support), z)
        said = after.spec.target.said(Distribution(logits))
        if subject.trust is None or classes is None:
            return said
        return said | believed(subject.trust, after, params, support, logits, z)


class Learning(Heading):
    """Tensors that enter of support examples, labels, of classes arange(N), and tensors that enter of queries."""

    def __init__(self, subject: Subject, inputs: Sequence[str]) -> None:
        super().__init__(subject)
        self._inputs = tuple(inputs)

    def forward(self, *given: Tensor) -> dict[str, Tensor]:
        count = len(self._inputs)
        support, (labels, *classes), asked = given[:count], given[count:-count], given[-count:]
        many = support[0].shape[0]
        both = [torch.cat(pair) for pair in zip(support, asked, strict=True)]
        x = entered(self._subject, dict(zip(self._inputs, both, strict=True)))
        z = leaves(self._subject.learner.embed(self._subject.params, x))[0]
        return self._learned(z[:many], labels, z[many:], classes[0] if classes else None)


def embedded(subject: Subject) -> Learner:
    """The learner as it goes on from embeddings; ConfigError where it does not."""
    name, format = subject.config.learner.name, subject.spec.format
    can = "those that fit something in closed form to embeddings: protonet, matchingnet, r2d2, lrd2, simpleshot, rfs …"
    if (after := subject.learner.embedded) is None:
        raise ConfigError(
            f"The learner {name!r} learns a task by more than embeddings, so that this is not exported with it. Leave "
            f"adapt (--with-adapt) out, or train one of {can}"
        )
    if format.labels_itself or format.prepares:
        raise ConfigError(
            f"{format.what.capitalize()} teach each task more than a graph holds, so that learning is not exported "
            "with it. Leave adapt (--with-adapt) out."
        )
    return after
