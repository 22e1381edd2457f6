"""What one model says of records, with how far that can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.forward import Guarded
from quickstudy.entries import reference
from quickstudy.episode import Features, leaves, map_features
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Stored
from quickstudy.spec import TaskSpec
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.distribution import Distribution
from quickstudy.trust.heard import Asked, Heard


class Told(NamedTuple):
    """answer: about n inputs. logits: raw predictions (n, …). near: (n, m) cosines of the inputs with the m support
    examples, as embeddings about the mean of these. The latter two of models of classes with trust; else None."""

    answer: Answer
    logits: Tensor | None
    near: Tensor | None


class Listening:
    """A model that is asked, with what it said of the embeddings of each part. z: those of all parts, where they are
    known already."""

    def __init__(self, computed: Guarded, z: Features | None = None) -> None:
        self._computed, self._z = computed, z
        self.logits, self.places = list[Tensor](), list[Features]()

    def said(self, x: Features) -> Distribution:
        return self._computed.said(x)

    def embedded(self, x: Features) -> tuple[Tensor, Features]:
        logits, z = self._computed.embedded(x) if self._z is None else self._computed.after(self._z)
        self.logits.append(logits)
        self.places.append(z)
        return logits, z


def answered(
    model: Adapted,
    by: Asked,
    x: Features,
    coverage: float | None,
    false_alarms: float | None,
    least: float | None,
    asked: Mapping[str, Any],
) -> Answer:
    """The answer about stored records x. by: who computes it. least: how likely an input must be of a class, see
    `Model.threshold`. asked: what else the format is."""
    spec, trust = model.spec, model.trust
    if coverage is not None or false_alarms is not None:
        trust = model.trusted("say how far its answers can be believed")
    if false_alarms is not None:
        require_strangers(spec)
    heard: list[Heard] = []

    def hear(features: Features) -> Distribution:
        heard.append(Heard(by.said(features)) if trust is None else trust.heard(by, features, coverage, false_alarms))
        return heard[-1].said

    units = spec.format.units(model.fitted)
    said = spec.format.ask(hear, x, model.fitted, **asked)
    answer = spec.target.answer(said, model.names, units)
    if trust is None:
        return answer
    owner = spec.format.owners(x)
    known, accepted, inside = (
        most_of([getattr(one, name) for one in heard], owner) for name in ("known", "accepted", "inside")
    )
    if accepted is not None and known is not None and least is not None:
        accepted = accepted & (known > least)
    return trust.completed(answer, Heard(said, None, known, accepted, inside), units, coverage)


def told(
    model: Adapted,
    stored: Stored,
    coverage: float | None,
    false_alarms: float | None,
    z: Features | None,
    asked: Mapping[str, Any],
) -> Told:
    """See `Model.told`."""
    x, listening = on_device(model, stored.x), Listening(model.computed, z)
    answer = answered(model, listening, x, coverage, false_alarms, None, asked)
    owner = model.spec.format.owners(x)
    support = None if model.trust is None else model.trust.compared
    near = [] if support is None else [cosines(leaves(part)[0], support) for part in listening.places]
    most = most_of(near, owner)
    return Told(
        answer,
        torch.cat(listening.logits).cpu() if listening.logits else None,
        None if most is None else most.cpu(),
    )


def on_device(model: Adapted, x: Features) -> Features:
    """Stored records where φ is, as they are."""
    device = reference(model.params).device
    return map_features(lambda t: t.to(device), x)


def require_strangers(spec: TaskSpec) -> None:
    """ConfigError where nobody can tell inputs that are of no class."""
    if not spec.target.calibrates:
        raise ConfigError(f"Inputs of no class are told by models of classes; this one tells {spec.target}.")


def most_of(parts: Sequence[Tensor | None], owner: Tensor | None) -> Tensor | None:
    """Of what is said of parts of records, (m, …) in all, by `Format.owners`, the most that is said of any part of
    each; None where nothing is said.

    An input is taken for none of the classes where all of its parts are, and its set holds what the sets of its parts
    hold: both no more often wrong than of one part.
    """
    there = [part for part in parts if part is not None]
    if not there:
        return None
    values = torch.cat(there)
    if owner is None or not len(owner):
        return values
    owner = owner.to(values.device).view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    least = values.new_zeros((int(owner.max()) + 1, *values.shape[1:]), dtype=torch.float64)
    numbers = values.to(least)
    return least.scatter_reduce(0, owner, numbers, "amax", include_self=False).to(values.dtype)


def cosines(z: Tensor, support: Tensor) -> Tensor:
    """Of embeddings z (n, D) with those of a support set (m, D), about the mean of the latter: (n, m), in [-1, 1]."""
    middle = support.mean(0)
    z, support = (torch.nn.functional.normalize(one - middle, dim=1) for one in (z, support))
    return z @ support.T
