"""From records and labels of the user's to the support set of one task."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.partly import one_by_one, partly_encoded, say_doubtful
from quickstudy.episode import Examples, State, joined, leaves, map_features
from quickstudy.errors import DataError, ShapeError, first_of
from quickstudy.formats.base import Format
from quickstudy.formats.records import Broken, Stored, moved, say
from quickstudy.learners import Learner
from quickstudy.registry import OWN, models
from quickstudy.spec import TaskSpec, check_examples
from quickstudy.targets.maps import BACKGROUND, IGNORED, LabelMaps
from quickstudy.training.config import RunConfig

_log = logging.getLogger("quickstudy")


def support_set(
    learner: Learner,
    config: RunConfig,
    records: Any,
    labels: Any,
    like: Tensor,
    broken: Broken = "refuse",
    extra: Sequence[tuple[Any, Any]] = (),
) -> tuple[Examples, tuple[str, ...], State, TaskSpec]:
    """The support set of records and labels, the names of its classes, what the format learned, and the task's spec.

    learner: built for the tasks of training. like: a tensor where the examples are to lie, in their precision. extra:
    further records and their labels, None for those that have none.
    """
    built = learner.spec
    if built.target.grid and labels is None and isinstance(records, str | Path):
        found = built.find(records)
        records, labels = found.items, found.labels
    opened = built.format.opened(records)
    stored = opened.store(records, broken)
    say(stored.notices)
    if built.target.grid:
        stored, labels = _with_maps(built.format, stored, records, labels, broken)
    elif broken == "skip" and labels is not None:
        labels = [labels[i] for i in stored.kept]
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
    count = len(leaves(features)[0])
    if len(y) != count:
        raise DataError(f"There are {count} support examples but {len(y)} labels. Give one label for each.")
    if built.target.relabels and len(names) < 2:
        raise DataError(f"All support examples are of one class ({', '.join(names)}). Give at least two classes.")
    if built.target.relabels and y.dim() == 1 and len(leaves(stored.x)[0]) == count:
        say_doubtful(stored.x, y, names, records, stored.kept, format.what)
    if target.density and len(y) > 1 and bool((y == y[:1]).all()):
        _log.warning("All labels of the support set are alike, so that no more than that can be learned of them.")
    spec = TaskSpec(format, target).at(len(names))
    mask = torch.ones(count, dtype=torch.bool, device=like.device)
    support = Examples(moved(features, like), leaves(moved(y, like))[0], mask)
    check_examples(support, spec, partly=learner.semi_supervised)
    return support, names, fitted, spec


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
