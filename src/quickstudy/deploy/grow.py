"""An adapted model that goes on: further examples and classes, and such that are forgotten."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.adapted import Adapted
from quickstudy.deploy.grown import (
    Effect,
    Grown,
    IfWorse,
    encoded,
    indices,
    listed,
    require_known,
    require_two,
)
from quickstudy.deploy.labelled import records_at
from quickstudy.deploy.partly import say_doubtful
from quickstudy.deploy.summed import added, taken
from quickstudy.deploy.support import Kept, SupportSet, completed, recorded
from quickstudy.engine import place
from quickstudy.entries import reference
from quickstudy.episode import Examples, Features, Params, leaves, map_features
from quickstudy.errors import ConfigError, DataError, unknown_name
from quickstudy.formats.base import Format
from quickstudy.formats.records import Broken, moved, say
from quickstudy.learners import IterativeLearner, Learner
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally
from quickstudy.tasks.stored import prints

_HELD_OUT = 64  # examples, up to which each is held out in turn
_log = logging.getLogger("quickstudy")


def more(model: Adapted, records: Any, labels: Any, broken: Broken, if_worse: IfWorse) -> Grown:
    """What the model is after further examples: what it would be, had they been there from the first."""
    require_known(if_worse)
    spec, like, format = model.spec, reference(model.params), model.spec.format
    if labels is None and isinstance(records, str | Path) and os.path.exists(records):
        records, labels = records_at(spec, Path(records))[:3:2]
    if model.kept is None:
        return added(model, records, labels, broken)
    before = _examples(model, model.kept)
    if spec.format.labels_itself:
        if labels is not None:
            raise DataError(f"{spec.format.what.capitalize()} are their own labels. Give what followed alone.")
        x = spec.format.prolonged(model.kept.x, records)
        y, names, target = model.kept.y, model.names, spec.target
    else:
        opened = _opened(model, model.kept.x, records)
        if opened is None:
            stored, labels = recorded(spec, records, labels, broken)
            x = format.together(model.kept.x, stored.x)
        else:
            format, x = opened
        own, called = encoded(model, labels, len(leaves(x)[0]) - len(model.kept.y))
        target = spec.target.taking(labels)
        y, names = target.united([(model.kept.y, model.names), (own, called)])
        if target.relabels and y.dim() == 1:
            say_doubtful(x, y, names, None, range(len(y)), spec.format.what)
    now = _set(model, TaskSpec(format, target), x, y, names, like)
    return _fitted(model, before, now, torch.arange(len(before.mask)), if_worse)


def without(model: Adapted, classes: Any, examples: Any, labels: Any, broken: Broken, if_worse: IfWorse) -> Grown:
    """What the model is once classes, by name, and examples, by index or as records, are forgotten: what it would be,
    had they never been there."""
    require_known(if_worse)
    classes = [str(name) for name in listed(classes)]
    for name in classes:
        if name not in model.names:
            raise unknown_name("class of this model", name, model.names)
    if not classes and (examples is None or not listed(examples)):
        raise ConfigError("There is nothing to forget. Name classes (classes=…), or examples (examples=…).")
    if model.spec.format.labels_itself:
        raise ConfigError(f"Of {model.spec.format.what} nothing can be forgotten. Adapt anew to what is to be known.")
    if model.kept is None:
        return taken(model, classes, examples, labels, broken)
    before, like = _examples(model, model.kept), reference(model.params)
    stay = torch.ones(len(model.kept.y), dtype=torch.bool)
    if examples is not None:
        stay[_numbers(model, model.kept, examples, broken)] = False
    y = model.kept.y[stay]
    rows, y, names = model.spec.target.forgetting(y, model.names, classes)
    require_two(model, names)
    known = stay.nonzero().flatten()[rows]
    if not len(known):
        raise DataError("No example would be left. Forget fewer, or adapt anew.")
    x = map_features(lambda t: t[known], model.kept.x)
    format, x = _opened(model, x) or (model.spec.format, x)
    spec = TaskSpec(format, model.spec.target)
    return _fitted(model, before, _set(model, spec, x, y, names, like), known, if_worse)


def sealed(model: Adapted) -> tuple[None, Tally | None]:
    """What takes the place of the kept support set where it is not to be kept: sums, of learners in closed form, that
    say no example; None where there are none, or where features depend on all records of the task."""
    if model.kept is None:
        return None, model.tally
    if model.spec.format.prepares:
        return None, None
    with torch.no_grad():
        return None, model.learner.tally(model.params, _examples(model, model.kept))


def _opened(model: Adapted, x: Features, records: Any = None) -> tuple[Format, Features] | None:
    """The format that all records teach where each task teaches its own, as the schema of a table, and compact tensors
    of all by it; None where the format is what the run was trained with."""
    rows = None if model.built is None else model.spec.format.raw(x, records)
    if rows is None or model.built is None or (opened := model.built.format.opened(rows)) == model.built.format:
        return None
    stored = opened.store(rows)
    say(stored.notices)
    return opened, stored.x


def _set(model: Adapted, spec: TaskSpec, x: Features, y: Tensor, names: Sequence[str], like: Tensor) -> SupportSet:
    """The support set of compact tensors and encoded labels, with constants that are fitted to all of it."""
    there = map_features(lambda t: t.to(like.device), x)
    fitted = spec.format.prepare(there)
    features, own = spec.format.examples(there, None if spec.format.labels_itself else y, fitted)
    y = spec.target.encode(own)[0] if spec.format.labels_itself else y
    return completed(model.learner, spec, features, y, names, fitted, like, x)


def _examples(model: Adapted, kept: Kept) -> Examples:
    """The kept support set as the model has learned from it."""
    format, like = model.spec.format, reference(model.params)
    x = map_features(lambda t: t.to(like.device), kept.x)
    features, own = format.examples(x, None if format.labels_itself else kept.y, model.fitted)
    y = model.spec.target.encode(own)[0] if format.labels_itself else kept.y
    mask = torch.ones(len(y), dtype=torch.bool, device=like.device)
    return Examples(moved(features, like), leaves(moved(y, like))[0], mask)


def _fitted(model: Adapted, before: Examples, found: SupportSet, known: Tensor, if_worse: IfWorse) -> Grown:
    """The model of a changed support set. known: which examples of the one before are the first of it."""
    learner = model.learner.at(found.spec)
    with torch.no_grad():
        state = place(learner.adapt(model.params, found.examples), found.examples.mask.device, learner.inner_loop)
        effect = _effect(model, before, learner, found, known.to(before.mask.device))
    if effect is not None and effect.worse:
        if if_worse == "refuse":
            raise DataError(f"{effect}. Nothing was changed. Look at the new examples, or accept it (if_worse='say').")
        wider = found.spec.ways - model.spec.ways
        why = f", with {wider} more class{'es' if wider > 1 else ''} to tell apart" if wider > 0 else ""
        _log.warning("%s: it is worse on what it knew%s. Look at the examples that were changed.", effect, why)
    count = len(found.examples.mask)
    return Grown(learner, state, found.names, found.fitted, found.kept, None, count, effect, found.examples)


def _effect(model: Adapted, before: Examples, learner: Learner, found: SupportSet, known: Tensor) -> Effect | None:
    """Of examples that are known before and after; None where there are none, or where units are others now."""
    if model.spec.format.labels_itself:
        return None
    after, rows = found.examples, torch.arange(len(known), device=known.device)
    if model.spec.target.relabels and before.y.dim() == 1:
        labelled = before.y[known] >= 0
        known, rows = known[labelled], rows[labelled]
    if not len(known):
        return None
    few = max(len(before.mask), len(after.mask)) <= _HELD_OUT
    held_out = few and not isinstance(learner, IterativeLearner)
    if held_out:  # of classes of one example nothing is known once it is held out
        said = _answerable(model.learner, before, known) & _answerable(learner, after, rows)
        held_out = bool(said.any())
        known, rows = (known[said], rows[said]) if held_out else (known, rows)
    then = _score(model.learner, model.params, before, known, held_out)
    return Effect(
        learner.spec.target.metric, then, _score(learner, model.params, after, rows, held_out), len(known), held_out
    )


def _answerable(learner: Learner, support: Examples, rows: Tensor) -> Tensor:
    """Which of these rows (r,) of a support set can be asked about after learning from all but the one, (r,) bool."""
    others = torch.arange(len(support.mask), device=rows.device) != rows[:, None]
    y = support.y.expand(len(rows), *support.y.shape)
    own = support.y[rows][:, None]
    asked = Examples(own, own, support.mask[rows][:, None])
    found = learner.spec.target.answerable(Examples(y, y, support.mask & others), asked)[:, 0]
    return found & (support.mask & others).any(1)


def _score(learner: Learner, params: Params, support: Examples, rows: Tensor, held_out: bool) -> float:
    """The headline for these rows of a support set after learning from it: from all, or from all but the one asked."""
    asked = Examples(map_features(lambda t: t[rows], support.x), support.y[rows], support.mask[rows])
    if not held_out:
        prediction = learner.predict(params, learner.adapt(params, support), asked.x)
        return float(learner.spec.target.score(prediction, asked))
    tally = None if learner.spec.target.grid else learner.tally(params, support)
    said = []
    for number, row in enumerate(rows.tolist()):
        others = torch.arange(len(support.mask), device=support.mask.device) != row
        if tally is None or tally.every:  # of sums over all examples ψ may be dearer than of the examples
            state = learner.adapt(params, support._replace(mask=support.mask & others))
        elif tally.rows:
            rest = {name: value[others] for name, value in tally.rows.items()}
            state = learner.settled(params, tally._replace(rows=rest))
        else:
            one = learner.tally(params, Examples(*(_only(part, row) for part in support)))
            assert one is not None
            state = learner.settled(params, tally.plus(one, -1))
        said.append(learner.predict(params, state, _only(asked.x, number)))
    return float(learner.spec.target.score(torch.cat(said), asked))


def _only(x: Features, row: int) -> Any:
    """One example of tensors (n, …), as (1, …)."""
    return map_features(lambda t: t[row : row + 1], x)


def _numbers(model: Adapted, kept: Kept, examples: Any, broken: Broken) -> list[int]:
    """Which of the kept examples are meant, by index or as equal records."""
    count = len(kept.y)
    if (chosen := indices(examples, count)) is not None:
        return chosen
    stored = model.spec.format.store(examples, broken)
    if [t.dtype for t in leaves(stored.x)] != [t.dtype for t in leaves(kept.x)]:
        stored = stored._replace(x=model.spec.format.features(stored.x))
    ours, theirs = prints(kept.x).tolist(), prints(stored.x).tolist()
    for i, one in enumerate(theirs):
        if one not in ours:
            raise DataError(
                f"Example {i} of those that are to be forgotten is none of the {count} that the model was adapted to. "
                "Give the same files or numbers, or their indices."
            )
    return [i for i, one in enumerate(ours) if one in theirs]
