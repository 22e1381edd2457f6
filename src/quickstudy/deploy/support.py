"""From records and labels of the user's to the support set of one task."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.deploy.partly import one_by_one, partly_encoded, say_doubtful
from quickstudy.entries import prefixed, with_prefix
from quickstudy.episode import Examples, Features, State, joined, leaves, map_features, named, of_names
from quickstudy.errors import DataError, ShapeError, first_of
from quickstudy.formats.base import Format
from quickstudy.formats.records import Broken, Stored, moved, say
from quickstudy.learners import Learner
from quickstudy.registry import OWN, models
from quickstudy.spec import TaskSpec, check_examples
from quickstudy.targets.maps import BACKGROUND, IGNORED, LabelMaps
from quickstudy.training.config import RunConfig

_log = logging.getLogger("quickstudy")


class Kept(NamedTuple):
    """What a task was learned from: x, compact tensors (n, …) as the format stores records; y, encoded labels, none
    where records are their own."""

    x: Features
    y: Tensor

    def entries(self) -> State:
        """Both as one flat mapping."""
        return with_prefix("x.", named(self.x)) | {"y": self.y}

    @classmethod
    def of(cls, entries: State) -> Kept | None:
        """The inverse of `entries`; None of an empty mapping."""
        return cls(of_names(prefixed("x.", entries)), entries["y"]) if entries else None


class SupportSet(NamedTuple):
    """Examples to learn from, names of their classes, what the format learned, the task's spec, and what is kept."""

    examples: Examples
    names: tuple[str, ...]
    fitted: State
    spec: TaskSpec
    kept: Kept


def support_set(
    learner: Learner,
    config: RunConfig,
    records: Any,
    labels: Any,
    like: Tensor,
    broken: Broken = "refuse",
    extra: Sequence[tuple[Any, Any]] = (),
) -> SupportSet:
    """The support set of records and labels.

    learner: built for the tasks of training. like: a tensor where the examples are to lie, in their precision. extra:
    further records and their labels, None for those that have none.
    """
    built = learner.spec
    if built.target.grid and labels is None and isinstance(records, str | Path):
        found = built.find(records)
        records, labels = found.items, found.labels
    opened = built.format.opened(records)
    stored, labels = recorded(TaskSpec(opened, built.target), records, labels, broken)
    if not len(leaves(stored.x)[0]):
        raise DataError("There is no support example to learn from. Give at least one of each class.")
    for more, told in extra:
        further = opened.store(more, broken)
        say(further.notices)
        given = [None] * len(further.kept) if told is None else [told[i] for i in further.kept]
        labels = [*one_by_one(labels), *given]
        stored = stored._replace(x=joined(stored.x, further.x))
    format = opened.fitting(stored.x, records)
    narrower = models.traits(config.model.name).narrower
    if format.layout != built.format.layout and not _takes(learner, config, format):
        most = " and takes no larger ones" if narrower else ""
        raise ShapeError(
            f"The support set is {format}, but the run was trained on {built.format}{most}. Give examples of that "
            "shape, or train on such as these."
        )
    x = map_features(lambda t: t.to(like.device), stored.x)
    fitted = format.prepare(x)
    features, labels = format.examples(x, labels, fitted)
    target = built.target.taking(labels)
    y, names = partly_encoded(target, labels, learner.semi_supervised)
    found_set = completed(learner, TaskSpec(format, target), features, y, names, fitted, like, stored.x)
    if built.target.relabels and y.dim() == 1 and len(leaves(stored.x)[0]) == len(y):
        say_doubtful(stored.x, y, names, records, stored.kept, format.what)
    return found_set


def recorded(spec: TaskSpec, records: Any, labels: Any, broken: Broken) -> tuple[Stored, Any]:
    """Records as the format stores them, and the labels of those that could be read."""
    stored = spec.format.store(records, broken)
    say(stored.notices)
    if spec.target.grid:
        return _with_maps(spec.format, stored, records, labels, broken)
    return stored, [labels[i] for i in stored.kept] if broken == "skip" and labels is not None else labels


def completed(
    learner: Learner, spec: TaskSpec, features: Features, y: Tensor, names: Sequence[str], fitted: State, like: Tensor,
    stored: Features,
) -> SupportSet:  # fmt: skip
    """The support set of features and encoded labels. DataError where they are not as many, or of one class."""
    target, count = spec.target, len(leaves(features)[0])
    if len(y) != count:
        raise DataError(f"There are {count} support examples but {len(y)} labels. Give one label for each.")
    if target.relabels and len(names) < 2:
        raise DataError(
            f"All support examples are of one class ({', '.join(names)}). Give at least two classes."
            if names
            else "No support example has a class. Give at least two classes."
        )
    if target.density and len(y) > 1 and bool((y == y[:1]).all()):
        _log.warning("All labels of the support set are alike, so that no more than that can be learned of them.")
    spec = spec.at(len(names))
    mask = torch.ones(count, dtype=torch.bool, device=like.device)
    examples = Examples(moved(features, like), leaves(moved(y, like))[0], mask)
    check_examples(examples, spec, partly=learner.semi_supervised)
    own = y[:0] if spec.format.labels_itself else y
    return SupportSet(examples, tuple(names), fitted, spec, Kept(map_features(Tensor.cpu, stored), own.cpu()))


def _with_maps(format: Format, stored: Stored, records: Any, labels: Any, broken: Broken) -> tuple[Stored, LabelMaps]:
    """The stored records that have maps of labels, and these."""
    if labels is None:
        raise DataError(f"Learning masks needs one for each of the {format.what}. Give them: run.adapt(images, masks).")
    if len(stored.kept) < len(records):
        records = [records[i] for i in stored.kept]
        labels = labels.chosen(stored.kept) if isinstance(labels, LabelMaps) else [labels[i] for i in stored.kept]
    maps, kept, left_out = format.pixels.maps(records, labels, broken)
    if left_out:
        say([f"{len(left_out)} masks left out: {first_of(left_out)}"])
    void = (maps.ids == IGNORED).flatten(1).all(1).nonzero().flatten().tolist()
    if void:
        record = records[kept[void[0]]]
        name = str(record) if isinstance(record, str | Path) else f"example {kept[void[0]]}"
        raise DataError(f"The mask of {name} labels no pixel: all are to be ignored. Drop it, or label some.")
    there = set(maps.ids.unique().tolist())  # type: ignore[no-untyped-call]
    unseen = [name for i, name in enumerate(maps.names) if i not in there and name != BACKGROUND]
    if len(unseen) == len(set(maps.names) - {BACKGROUND}):
        raise DataError(f"The masks show nothing but {BACKGROUND}. Give one at least that shows what is to be found.")
    if unseen:
        say([f"Classes that no mask shows are left out of all answers: {first_of(unseen)}"])
    x = map_features(lambda t: t[kept], stored.x)
    return Stored(x, [stored.kept[i] for i in kept], stored.notices), maps


def _takes(learner: Learner, config: RunConfig, format: Format) -> bool:
    """Whether the network takes another format than it was built for: if its model says so, or one of one's own does
    when it is tried."""
    built, traits = learner.spec.format, models.traits(config.model.name)
    if traits.wider and format.accepts(built):
        return True
    if not built.accepts(format):
        return False
    if config.model.name != OWN:
        return traits.narrower
    try:
        learner.network.output_shape(format)
    except (RuntimeError, ValueError, TypeError, LookupError):  # what networks raise for a shape that they do not take
        return False
    return True
