"""Tasks of classes from labelled examples in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Features, leaves
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.numeric import as_numbers, has_names, items_of
from quickstudy.formats.records import say
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec
from quickstudy.targets.base import Target
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.divide import named_splits, split_classes
from quickstudy.tasks.groups import Groups, Rule
from quickstudy.tasks.pool import TensorPool
from quickstudy.tasks.stored import say_alike

_PLAIN = Distortion()
_log = logging.getLogger("quickstudy")


def arrays(
    x: Any,
    y: Any,
    *,
    format: Format | None = None,
    target: Target | None = None,
    splits: Mapping[str, Sequence[Hashable]] | None = None,
    val: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    groups: Sequence[Hashable] | None = None,
    rule: Rule = "apart",
    symmetries: int = 1,
    augmentation: Distortion = _PLAIN,
) -> ClassSource:
    """Tasks of classes over labelled examples in memory.

    x: (n, *features), a tensor, NumPy array, data frame or nested list of numbers, which mean what they are; or, with
        `format`, whatever that format stores: files, pixels from 0 to 255 …
    y: (n,) labels of any kind; equal labels are one class, named str(label).
    format: what x is, such as quickstudy.formats.Image(size=28, channels=1), or Array(shape=(12,), ids=True) of tokens;
        if not given, a table where x is a data frame or records with names, texts where it is strings, else numbers of
        this shape.
    target: what is asked of them; classes if not given.
    splits: the labels of 'train', 'val' and 'test'; by default the shares `val` and `test` of the classes are held out,
        at random by `split_seed`.
    groups: of each example, what it belongs to, such as its speaker or session; '' or None where nobody knows.
    rule: no group is in both support and query of a task ('apart'), or each task is of one group ('within').
    symmetries, augmentation: see ClassSource; of images and recordings, on training tasks only.

    Raises ShapeError for lengths or types that do not fit, DataError for NaN or too few classes.
    """
    target = target or targets.make("classes")
    if not target.relabels:
        raise ConfigError(f"These are tasks of classes, and {target} are none. Use quickstudy.tasks.tables for them.")
    if format is None and has_names(x):
        format = formats.make("table")
    if format is None and _are_texts(x):
        format = formats.make("text")
    if format is not None and isinstance(x, Path):
        x = format.find(x, labelled=False).items
    if format is None:
        whole = _whole(x)
        x = as_numbers(x)
        if whole:
            _log.warning(
                "x holds whole numbers (%s), which networks are given as floating point. If they name things, as those "
                "of tokens for nn.Embedding, say so: format=quickstudy.formats.Array(shape=%s, ids=True).",
                whole,
                tuple(x.shape[1:]),
            )
        if x.dtype == torch.uint8 and x.dim() == 4:
            _log.warning(
                "x holds whole numbers from 0 to 255 of the shape %s, which are taken as they are. If these are "
                "images, say so: format=quickstudy.formats.Image(size=%d, channels=%d).",
                tuple(x.shape[1:]),
                x.shape[-1],
                x.shape[1],
            )
        format = formats.make("array", shape=tuple(x.shape[1:]))
    ids, names = target.encode(y)
    if len(names) < 2:
        raise DataError(f"y has {len(names)} different labels; telling classes apart needs at least two.")
    say_alike([names[i] for i in ids.tolist()])
    chosen = split_classes(len(names), val, test, split_seed) if splits is None else named_splits(splits, names)
    if format.learns:
        format = format.learn(list(compress(items_of(x), torch.isin(ids, chosen["train"]).tolist())))
    stored = format.store(x)
    say(stored.notices)
    if len(ids) != len(leaves(stored.x)[0]):
        raise ShapeError(
            f"x has {len(leaves(stored.x)[0])} examples but y has {len(ids)} labels. Give one label for each example."
        )
    return class_source(
        format.fitting(stored.x, x),
        stored.x,
        ids,
        names,
        chosen,
        symmetries=symmetries,
        augmentation=augmentation,
        target=target,
        groups=None if groups is None else ["" if group is None else str(group) for group in groups],
        rule=rule,
    )


def _are_texts(x: Any) -> bool:
    """Whether x is a list or a column of strings; ConfigError where these are names of files, of which it is not known
    what they hold."""
    column = getattr(getattr(x, "dtype", None), "kind", "") in ("O", "U") and x.ndim == 1
    items = x.tolist() if column else x
    if not isinstance(items, list | tuple) or not items or not all(isinstance(one, str) for one in items):
        return False
    if all(os.path.isfile(one) for one in items):
        raise ConfigError(
            f"x names files, such as {items[0]}. Say what they hold: format=quickstudy.formats.Image(size=84), or "
            "quickstudy.formats.Audio(); of files of texts give paths, pathlib.Path(…), and formats.Tokens()."
        )
    return True


def _whole(x: Any) -> str:
    """The type of whole numbers that could be ids; '' for others, and for those of pixels."""
    dtype = str(getattr(x, "dtype", "")).removeprefix("torch.")
    return dtype if dtype in ("int32", "int64", "uint32", "uint64") else ""


def class_source(
    format: Format,
    x: Features,
    labels: Tensor,
    names: Sequence[str],
    splits: Mapping[str, Tensor],
    *,
    symmetries: int = 1,
    augmentation: Distortion = _PLAIN,
    target: Target | None = None,
    groups: Sequence[str] | None = None,
    rule: Rule = "apart",
) -> ClassSource:
    """The source over stored x (n, …) with labels (n,) into names; symmetries and augmentation are for training.

    groups, rule: see `arrays`.
    """
    if groups is not None and len(groups) != len(labels):
        raise ShapeError(f"There are {len(labels)} examples but {len(groups)} groups. Give one for each example.")
    pool = TensorPool.from_labels(format, x, labels, names)
    source = ClassSource(
        pool=pool,
        records=None if groups is None else Groups.named(groups, pool.rows, rule),
        splits=splits,
        spec=TaskSpec(format, target or targets.make("classes")),
        symmetries=symmetries,
        symmetric_splits=("train",),
        augmentation=augmentation,
    )
    one = source.pool.fetch(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    format.check(one, 1, "x")
    return source
