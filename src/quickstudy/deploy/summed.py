"""Models that have not kept their examples: what sums over them let one add and forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.grown import Grown, encoded, indices, places, require_two
from quickstudy.deploy.support import recorded
from quickstudy.engine import place
from quickstudy.entries import reference
from quickstudy.episode import Examples, Features, leaves, map_features
from quickstudy.errors import ConfigError, DataError, first_of
from quickstudy.formats.records import Broken, moved
from quickstudy.learners import Learner
from quickstudy.spec import check_examples
from quickstudy.tally import Tally


def _alone(model: Adapted, records: Any, labels: Any, broken: Broken) -> tuple[Features, Tensor, tuple[str, ...]]:
    """Features, labels and names of further examples by themselves."""
    if type(model.learner).met is not Learner.met:
        raise ConfigError(
            "An agent learns from what it does, not from examples. Adapt it anew: run.adapt(environment)."
        )
    if model.tally is None:
        raise ConfigError(
            "This model has neither kept the examples that it was adapted to, nor sums that say as much, so that it "
            "cannot go on. Adapt anew to all examples, and let it keep them (keep=True, without --no-keep)."
        )
    like = reference(model.params)
    stored, labels = recorded(model.spec, records, labels, broken)
    features, _ = model.spec.format.examples(map_features(lambda t: t.to(like.device), stored.x), labels, model.fitted)
    return moved(features, like), *encoded(model, labels, len(leaves(stored.x)[0]))


def _tallied(model: Adapted, features: Features, y: Tensor, names: tuple[str, ...], learner: Learner) -> Tally:
    """The tally of further examples in a task whose classes are called as `names` has them."""
    like = reference(model.params)
    mask = torch.ones(len(y), dtype=torch.bool, device=like.device)
    examples = Examples(features, leaves(moved(y, like))[0], mask)
    check_examples(examples, learner.spec, "further", partly=learner.semi_supervised)
    with torch.no_grad():
        found = learner.tally(model.params, examples)
    if found is None:
        raise ConfigError("Examples without a class cannot be added to sums. Label them, or adapt anew with keep=True.")
    return found


def added(model: Adapted, records: Any, labels: Any, broken: Broken) -> Grown:
    """The model after further examples, which are added to its sums."""
    features, y, called = _alone(model, records, labels, broken)
    assert model.tally is not None
    names = model.spec.target.united([(y[:0], model.names), (y, called)])[1]
    learner = model.learner.at(model.spec.at(len(names)))
    y = model.spec.target.united([(y[:0], names), (y, called)])[0]
    known = model.tally.placed(places(model.names, names), len(names)) if names else model.tally
    grown = known.plus(_tallied(model, features, y, names, learner))
    return _of_tally(model, learner, names, grown, model.count + len(y))


def taken(model: Adapted, classes: Sequence[str], examples: Any, labels: Any, broken: Broken) -> Grown:
    """The model without some classes and examples, which are taken from its sums."""
    tally, count = model.tally, model.count
    if tally is None or examples is not None:
        tally, gone = _less(model, examples, labels, broken)
        count -= gone
    if not model.names:
        return _of_tally(model, model.learner, (), tally, count)
    counts = tally.counts if tally.counts is not None else tally.rows["y"].bincount(minlength=len(model.names))
    if bool((counts < 0).any()):
        name = model.names[int(counts.argmin())]
        raise DataError(f"More examples of {name!r} are to be forgotten than there were. Give those it was adapted to.")
    had = dict(zip(model.names, map(int, counts.tolist()), strict=True))
    left = tuple(name for name, number in had.items() if name not in classes and number > 0)
    if tally.every and any(had[name] for name in classes):
        raise ConfigError(
            f"The sums of this learner do not tell classes apart, so that {first_of(classes)} cannot be forgotten by "
            "name. Give its examples (examples=…, labels=…), or adapt anew with keep=True."
        )
    require_two(model, left)
    if not model.spec.target.grid:  # else what is counted are pixels
        count -= sum(had[name] for name in classes)
    learner = model.learner.at(model.spec.at(len(left)))
    return _of_tally(model, learner, left, tally.placed(places(model.names, left), len(left)), count)


def _less(model: Adapted, examples: Any, labels: Any, broken: Broken) -> tuple[Tally, int]:
    """The tally without some examples, and how many: rows go by their index, sums by what is taken from them."""
    tally = model.tally
    if tally is not None and tally.rows:
        chosen = None if model.spec.target.grid else indices(examples, len(tally.rows["y"]))
        if chosen is None:
            raise ConfigError("A model that has not kept its examples forgets them by their index: examples=[0, 3].")
        stay = torch.ones(len(tally.rows["y"]), dtype=torch.bool)
        stay[chosen] = False
        rows = {name: value[stay.to(value.device)] for name, value in tally.rows.items()}
        return tally._replace(rows=rows), len(set(chosen))
    if tally is not None and indices(examples, 1 << 30) is not None:
        raise ConfigError(
            "A model that has not kept its examples cannot tell which is which. Give those that are to be forgotten as "
            "records with their labels: without(examples=records, labels=labels)."
        )
    features, y, called = _alone(model, examples, labels, broken)
    assert tally is not None
    if strange := [name for name in called if name not in model.names]:
        raise DataError(f"The model knows no class {strange[0]!r}, of which an example is to be forgotten.")
    y = model.spec.target.united([(y[:0], model.names), (y, called)])[0]
    return tally.plus(_tallied(model, features, y, model.names, model.learner), -1), len(y)


def _of_tally(model: Adapted, learner: Learner, names: tuple[str, ...], tally: Tally, count: int) -> Grown:
    with torch.no_grad():
        state = place(learner.settled(model.params, tally), reference(model.params).device, learner.inner_loop)
    return Grown(learner, state, names, model.fitted, None, tally, count, None)
