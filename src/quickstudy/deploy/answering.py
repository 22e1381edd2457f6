"""What one model says of records, with how far that can be believed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from quickstudy.entries import reference
from quickstudy.episode import Features, Params, State, map_features
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Stored, say
from quickstudy.spec import TaskSpec
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.base import Distribution
from quickstudy.trust.intervals import IntervalTrust
from quickstudy.trust.pixels import PixelTrust
from quickstudy.trust.task import AnyTrust, Judged, TaskTrust

Embed = Callable[[Features], tuple[Tensor, Features]]
"""Raw predictions for features x (n, …) that fit, and their embeddings as they are compared."""


class Told(NamedTuple):
    """answer: about n inputs. logits: raw predictions (n, …). near: (n, m) cosines of the inputs with the m support
    examples, as embeddings about the mean of these. The latter two of models of classes with trust; else None."""

    answer: Answer
    logits: Tensor | None
    near: Tensor | None


def most_of(values: Tensor, owner: Tensor | None) -> Tensor:
    """Of what is said of parts of records (m, …), by `Format.owners`, the most that is said of any part of each.

    An input is taken for none of the classes where all of its parts are, and its set holds what the sets of its parts
    hold: both no more often wrong than of one part.
    """
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


class Asked(Protocol):
    """What is looked at of a `Model`."""

    @property
    def spec(self) -> TaskSpec: ...
    @property
    def params(self) -> Params: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def fitted(self) -> State: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...
    @property
    def trust(self) -> AnyTrust | None: ...


def trusted(model: Asked, what: str) -> AnyTrust:
    """The trust of a model; ConfigError, which says why, where it has none."""
    if model.trust is None:
        why = model.provenance.get("no trust", "it was made without, or by an earlier quickstudy.")
        raise ConfigError(f"This model cannot {what}: {why}")
    return model.trust


def answered(
    model: Asked,
    said_by: Callable[[Features], Distribution],
    embed: Embed,
    x: Features,
    coverage: float | None,
    false_alarms: float | None,
    least: float | None,
    asked: dict[str, Any],
) -> Answer:
    """The answer about stored records x. least: how likely an input must be of a class, see `Model.threshold`."""
    if coverage is not None or false_alarms is not None:
        trusted(model, "say how far its answers can be believed")
    spec, trust = model.spec, model.trust
    units = spec.format.units(model.fitted)
    if isinstance(trust, TaskTrust):
        judged: list[Judged] = []
        task = trust

        def calibrated(features: Features) -> Distribution:
            logits, z = embed(features)
            judged.append(task.judge(logits, z, coverage, false_alarms))
            return Distribution(judged[-1].logits)

        answer = spec.target.answer(spec.format.ask(calibrated, x, model.fitted, **asked), model.names, units)
        owner = spec.format.owners(x)
        known, accepted, inside = (
            None if parts[0] is None else most_of(torch.cat(parts), owner)
            for parts in list(zip(*judged, strict=True))[1:]
        )
        if accepted is not None and known is not None and least is not None:
            accepted = accepted & (known > least)
        return answer.believed(known, accepted, inside, coverage)
    if false_alarms is not None:
        raise ConfigError(f"Inputs of no class are told by models of classes; this one tells {spec.target}.")
    said = spec.format.ask(said_by, x, model.fitted, **asked)
    if isinstance(trust, PixelTrust):
        if coverage is not None:
            raise ConfigError(
                "A coverage is promised of numbers and of classes of whole inputs. Of masks, how sure each pixel is is "
                "calibrated: leave the coverage out, and see the doubt of the answer."
            )
        said = Distribution(trust.tempered(said.mean))
    answer = spec.target.answer(said, model.names, units)
    if isinstance(trust, IntervalTrust) and coverage is not None:
        half = trust.half(said, coverage)
        return answer.between((half if units is None else half * units.spread.to(half)).cpu(), coverage)
    return answer


def threshold(model: Asked, embed: Embed, background: Any, rate: float) -> float:
    """How likely an input must be of a class so that at most the share `rate` of inputs like these, which are of none,
    is taken for one: the k-th smallest of what is said of them, k = ⌈(n + 1) (1 − rate)⌉ (split conformal, Papadopoulos
    et al. 2002). ConfigError where there are too few of them."""
    trust = trusted(model, "tell inputs of its classes from others")
    if not isinstance(trust, TaskTrust):
        raise ConfigError(f"Inputs of no class are told by models of classes; this one tells {model.spec.target}.")
    if not 0 < rate < 1:
        raise ConfigError(f"A rate of false alarms lies between 0 and 1, both excluded, found {rate:g}. Choose 0.05.")
    stored = model.spec.format.query(background)
    say(stored.notices)
    found = _known(model, trust, embed, stored)
    k = math.ceil((len(found) + 1) * (1 - rate) - 1e-9)
    if k > len(found):
        raise ConfigError(
            f"A rate of {rate:g} of background taken for a class needs {math.ceil(1 / rate - 1 - 1e-9)} "
            f"{model.spec.format.what} of background, found {len(found)}. Give more, or choose a rate of "
            f"{1 / (len(found) + 1):.2g} or more."
        )
    return float(found.sort().values[k - 1])


def _known(model: Asked, trust: TaskTrust, embed: Embed, stored: Stored) -> Tensor:
    """How likely stored records are of one of the classes, (n,)."""
    found: list[Tensor] = []

    def asked(features: Features) -> Distribution:
        logits, z = embed(features)
        judged = trust.judge(logits, z)
        if judged.known is None:
            raise ConfigError(
                "Nothing tells inputs of no class: the validation tasks had too few classes to keep some from being "
                "shown, or come as they are."
            )
        found.append(judged.known)
        return Distribution(logits)

    model.spec.format.ask(asked, map_features(lambda t: t.to(reference(model.params).device), stored.x), model.fitted)
    return most_of(torch.cat(found), model.spec.format.owners(stored.x)).cpu()
