"""Learning one new task: from what a user gives to an adapted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from quickstudy.deploy.domain import Shift, shifted
from quickstudy.deploy.model import Model
from quickstudy.deploy.support import support_set
from quickstudy.engine import place
from quickstudy.entries import reference
from quickstudy.episode import Examples, Params, leaves, map_features
from quickstudy.errors import ConfigError
from quickstudy.formats.records import Broken, moved
from quickstudy.learners import Learner
from quickstudy.training.config import RunConfig
from quickstudy.trust.base import Trust
from quickstudy.trust.task import trust_or_why


@dataclass(frozen=True, kw_only=True)
class Given:
    """What one new task is learned from.

    records: what the format takes: files, arrays, rows, or the seen values of a series, which is its own labels.
    labels: one for each: class names, or numbers. broken: what to do with a record that cannot be read. unlabelled:
    further records without labels, for learners that are `semi_supervised`; a class name that is None says the same of
    one of `records`. shift: what of φ follows them first, as inputs of a new domain; see `shifted`. shift_steps: of
    'entropy'. classes: names that are examples of their classes themselves, put into the template, for texts; `records`
    are then not needed. episodes: of an environment, which agents are given as `records`. keep: whether the model keeps
    its support set, to go on from; see `Model.more`.
    """

    records: Any = None
    labels: Any = None
    broken: Broken = "refuse"
    unlabelled: Any = None
    shift: Shift = "none"
    shift_steps: int = 10
    classes: Sequence[str] = ()
    template: str = "{}"
    episodes: int | None = None
    keep: bool = True


def adapt(
    config: RunConfig,
    learner: Learner,
    params: Params,
    given: Given,
    provenance: Mapping[str, Any] | None = None,
    trust: Trust | None = None,
) -> Model:
    """Learn one new task.

    params: calibrated φ. trust: of the run, which the model carries with what its support set says. Classes are
    numbered in the order of their names. Models of tables take fewer columns than they were built for.
    """
    built, like = learner.spec, reference(params)
    if given.episodes is not None and given.episodes < 1:
        raise ConfigError(f"An agent lives through 1 episode or more, found episodes={given.episodes}. Raise it.")
    met = learner.evaluated().met(params, given.records, given.episodes or config.shots, config.seed)
    if met is not None:
        if given.labels is not None or given.unlabelled is not None or given.classes or given.shift != "none":
            raise ConfigError(
                "An agent learns from what it does in the environment alone. Leave labels, unlabelled records, classes "
                "and shift out."
            )
        return _of_met(config, learner.evaluated(), params, met, provenance or {})
    if given.episodes is not None:
        raise ConfigError("Episodes are of environments, for agents. Leave them out: records are given.")
    shift, unlabelled, classes = given.shift, given.unlabelled, list(given.classes)
    if shift != "none" and unlabelled is None:
        raise ConfigError(f"shift={shift!r} follows unlabelled inputs, and there are none. Give them: unlabelled=….")
    extra: list[tuple[Any, Any]] = [(built.format.of_names(classes, given.template), classes)] if classes else []
    records, labels = (given.records, given.labels) if given.records is not None or not extra else extra.pop()
    if unlabelled is not None and shift == "none" and not learner.semi_supervised:
        raise ConfigError(
            f"The learner {config.learner.name!r} makes nothing of support examples without a label. Leave unlabelled "
            "out, let φ follow them (shift='statistics'), or train one that learns from them: --learner semi-protonet."
        )
    if unlabelled is not None and learner.semi_supervised:
        extra.append((unlabelled, None))
    support, names, fitted, spec, kept = support_set(learner, config, records, labels, like, given.broken, extra)
    learner = (learner if spec == built else learner.at(spec)).evaluated()
    told: dict[str, Any] = {"support": len(support.mask)} | ({"classes": classes} if classes else {})
    with torch.no_grad():
        if shift != "none":
            domain = spec.format.store(unlabelled, given.broken).x
            x = moved(spec.format.features(map_features(lambda t: t.to(like.device), domain), fitted), like)
            params = shifted(learner, params, support, x, shift, given.shift_steps)
            told |= {"shift": shift, "unlabelled": len(leaves(x)[0]), "transductive": True}
        after = learner.embedded
        z = None if after is None else support._replace(x=learner.embed(params, support.x))  # once, for trust as well
        fitted_to = learner.adapt(params, support) if after is None or z is None else after.adapt(params, z)
        state = place(fitted_to, like.device, learner.inner_loop)
    own = None
    if trust is not None and not told.get("transductive"):
        own, why = trust_or_why(trust, learner, params, support, z)
        told |= {"no trust": why} if own is None else {}
    provenance = {**(provenance or {}), **told}
    model = Model(config, learner, params, state, names, fitted, built, provenance, own, kept)
    return model if given.keep else model.sealed()


def _of_met(config: RunConfig, learner: Learner, params: Params, met: Examples, provenance: Mapping[str, Any]) -> Model:
    """The model of one who has collected its support set itself."""
    with torch.no_grad():
        state = place(learner.adapt(params, met), met.y.device, learner.inner_loop)
    told = {**provenance, "support": int(met.mask.sum())}
    return Model(config, learner, params, state, built=learner.spec, provenance=told)
