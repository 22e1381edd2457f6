"""Measuring one adapted model: asking it for labelled records, and holding its answers against the labels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.labelled import Labelled
from quickstudy.deploy.scored import Judged, Promise, Refusals, Reliability, Scored, Share
from quickstudy.episode import Examples
from quickstudy.errors import DataError, first_of
from quickstudy.evaluation.estimate import jackknifed
from quickstudy.formats.records import Broken, say, summed
from quickstudy.spec import TaskSpec
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.base import Target
from quickstudy.targets.reported import Covered

_BATCH = 256
_SAME = 1e-6  # of a figure, in which its values differ by rounding
_GROUPS = 20  # of records, each of which is left out once for an interval


def scored(
    spec: TaskSpec,
    names: Sequence[str],
    answer: Callable[..., Answer],
    given: Labelled,
    broken: Broken = "refuse",
    transductive: bool = False,
    false_alarms: float | None = None,
    **asked: Any,
) -> Scored:
    """Ask for all records, and hold the answers against their labels.

    names: of the classes. answer: of stored records, as `Model.answer`. false_alarms: the rate that it was asked for.
    asked: what else the model is asked, such as
    the `steps` of a forecast. Raises DataError where no record has a label that the model can say.
    """
    if spec.format.labels_itself:
        return _forecast(spec, names, answer, given, broken, asked)
    what = spec.format.what
    parts, kept, total = _answers(spec, answer, given, broken, asked)
    if not kept:
        raise DataError(f"There are no {what} to measure the model on, of {total} that were given. Give others.")
    labelled = given.chosen(kept)
    strange = spec.target.strange(labelled.labels, names)
    at = [i for i, name in enumerate(strange) if not name]
    unknown = Counter(name for name in strange if name)
    if not at:
        raise DataError(
            f"The model was shown nothing of what these {len(kept)} {what} are: they hold {first_of(list(unknown))}, "
            f"and it knows {first_of(names or [str(spec.target)])}. Give others, or adapt to these."
        )
    known = labelled.chosen(at).labels
    target = spec.target.taking(known)
    y = target.known(known, names)
    prediction = torch.cat([part.prediction for part in parts])[at]
    real = _examples(y)
    told, each = iter(_labels(target, y, names)), iter(target.scores(prediction, y).tolist())
    cells = (row for part in parts for row in part.rows())
    rows = [
        (name, None, *cell) if name else (next(told), next(each), *cell)
        for name, cell in zip(strange, cells, strict=True)
    ]
    probable = target.claims(prediction, real)
    return Scored(
        spec=spec,
        classes=tuple(names),
        figures=_figures(target, prediction, real, target.baseline(real, real)),
        hits=tuple(target.hits(prediction, real, names)),
        confusion=_confusion(target.chosen(prediction), y, len(names)),
        reliability=None if probable is None or not len(probable[0]) else Reliability.of(*probable),
        promises=_promises(parts, at, y),
        columns=_columns(target, parts[0]),
        rows=tuple(rows),
        kept=tuple(kept),
        unknown=dict(unknown.most_common()),
        left_out=total - len(kept),
        transductive=transductive,
        refusals=None if false_alarms is None else _refusals(parts, at, false_alarms),
    )


def _answers(
    spec: TaskSpec, answer: Callable[..., Answer], given: Labelled, broken: Broken, asked: Mapping[str, Any]
) -> tuple[list[Answer], list[int], int]:
    """What the model says, a batch of records at a time; which records could be read; and how many there are."""
    records, count = given.records, len(given.labels)
    steps = range(0, count, _BATCH) if not isinstance(records, Mapping) else range(min(count, 1))
    parts, kept, notices = [], list[int](), list[str]()
    for start in steps:
        some = records if isinstance(records, Mapping) else records[start : start + _BATCH]
        stored = spec.format.query(some, broken)
        notices += stored.notices
        if stored.kept:
            parts.append(answer(stored, **asked))
            kept += [start + i for i in stored.kept]
    say(summed(notices, count))
    if sum(map(len, parts)) != len(kept) or (kept and kept[-1] >= count):
        raise DataError(
            f"There are {sum(map(len, parts))} answers to {count} labels of {spec.format.what}. Give one label for "
            "each."
        )
    return parts, kept, count


def _forecast(
    spec: TaskSpec,
    names: Sequence[str],
    answer: Callable[..., Answer],
    given: Labelled,
    broken: Broken,
    asked: Mapping[str, Any],
) -> Scored:
    """The last values of a series, forecast from all before them. Errors of one forecast depend on each other, so that
    they have no interval."""
    stored = spec.format.query(given.records, broken)
    say(stored.notices)
    seen, rest, naive = spec.format.parted(stored.x, **asked)
    said = answer(stored._replace(x=seen), **asked)
    y, prediction, blind = (part.reshape(-1, *spec.target.shape) for part in (rest, said.prediction, naive))
    each = spec.target.scores(prediction, y).tolist()
    rows = zip(_labels(spec.target, y, names), each, said.rows(), strict=True)
    return Scored(
        spec=spec,
        classes=tuple(names),
        figures=_figures(spec.target, prediction, _examples(y), blind, groups=0),
        hits=(),
        confusion=(),
        reliability=None,
        promises=_promises([said], list(range(len(y))), rest),
        columns=_columns(spec.target, said),
        rows=tuple((label, value, *cells) for label, value, cells in rows),
        kept=tuple(range(len(y))),
    )


def _examples(y: Tensor) -> Examples:
    return Examples(y.new_zeros(len(y), 0), y, torch.ones(len(y), dtype=torch.bool))


def _labels(target: Target, y: Tensor, names: Sequence[str]) -> list[Any]:
    """The true labels as cells of a table: single numbers as they are, all else as people read it."""
    values = target.plotted(y)
    return list(target.told(y, names)) if values is None else list(values.tolist())


def _columns(target: Target, answer: Answer) -> tuple[str, ...]:
    """What the rows' cells are called."""
    name = target.metric.title
    return "label", name if name not in ("label", *answer.columns) else f"{name} of it", *answer.columns


def _figures(
    target: Target, prediction: Tensor, real: Examples, blind: Tensor, groups: int = _GROUPS
) -> tuple[Judged, ...]:
    """Every figure of the target with its interval: of a share of records by Wilson, of all else by a jackknife over
    `groups` of them. blind: predictions of who does not look."""
    count = len(real.y)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    group = torch.empty(count, dtype=torch.int64)
    group[order] = torch.arange(count) % max(1, min(groups, count))
    some = [real._replace(mask=group != g) for g in range(min(groups, count) if count > 1 else 0)]
    without = [target.reported(prediction, part) for part in some]
    guessed = target.reported(blind, real)
    found = []
    for index, figure in enumerate(target.reported(prediction, real)):
        value, others = float(figure.value), [float(each[index].value) for each in without]
        each = target.scores(prediction, real.y).double()
        if groups and not index and _of_records(each, value):
            share = Share.of(float(each.sum()), count)
        elif all(map(math.isfinite, (value, *others))):
            share = Share(value, *map(figure.within, jackknifed(value, others))) if _vary(others) else Share(value)
        else:
            share = Share(value)
        found.append(Judged(figure, share, float(guessed[index].value) if figure.beside else math.nan))
    return tuple(found)


def _vary(values: Sequence[float]) -> bool:
    """Whether a figure depends on which records it is of. Where it is the same without any of them, as where all are
    right, they do not tell how far it may be off, which is not that it is certain."""
    return bool(values) and max(values) - min(values) > _SAME * max(map(abs, values))


def _of_records(each: Tensor, value: float) -> bool:
    """Whether a figure is the share of the records of which it is 1."""
    return bool(((each == 0) | (each == 1)).all()) and math.isclose(float(each.mean()), value, abs_tol=1e-6)


def _confusion(chosen: Tensor | None, y: Tensor, ways: int) -> tuple[tuple[int, ...], ...]:
    """Row: the true class; column: the answer. () where records are not of one class each."""
    if chosen is None:
        return ()
    counts = torch.bincount(ways * y + chosen, minlength=ways * ways).view(ways, ways)
    return tuple(tuple(row) for row in counts.tolist())


def _refusals(parts: Sequence[Answer], at: Sequence[int], promised: float) -> Refusals | None:
    """Which records were refused, of those `at` these places, which are of the classes, and of all others."""
    said = [part.refused for part in parts if part.refused is not None]
    if len(said) < len(parts):
        return None
    refused = torch.cat(said)
    known = torch.zeros_like(refused)
    known[list(at)] = True
    return Refusals(promised, *(Share.of(int(refused[mine].sum()), int(mine.sum())) for mine in (known, ~known)))


def _promises(parts: Sequence[Answer], at: Sequence[int], y: Tensor) -> tuple[Promise, ...]:
    """What intervals or sets held, of the answers `at` these places, whose labels are y."""
    places = torch.full((sum(map(len, parts)),), -1, dtype=torch.int64)
    places[list(at)] = torch.arange(len(at))
    ends = torch.tensor([0, *map(len, parts)]).cumsum(0).tolist()
    levels: dict[tuple[str, float], list[Covered]] = {}
    for part, start, end in zip(parts, ends, ends[1:], strict=False):
        mine = places[start:end]
        for one in part.covered(y[mine.clamp(min=0)]):
            there = one._replace(inside=one.inside[mine >= 0], size=one.size[mine >= 0])
            levels.setdefault((one.what, one.level), []).append(there)
    found = []
    for (what, level), covered in levels.items():
        inside, size = (torch.cat([getattr(one, name) for one in covered]) for name in ("inside", "size"))
        found.append(Promise(what, level, Share.of(int(inside.sum()), len(inside)), float(size.double().mean())))
    return tuple(found)
