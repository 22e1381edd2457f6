"""Tasks whose truth is known, of several sizes, each with inputs of classes that were not shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.engine.kept import on_features
from quickstudy.episode import Episode, Examples, Params, map_features, task
from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.evaluate import batches
from quickstudy.tasks.base import Sampling, Source
from quickstudy.trust.evidence import FOLDS, Evidence, compared, embedded, evidence, examined
from quickstudy.trust.familiar import familiar
from quickstudy.trust.space import Space

SHOTS = (1, 2, 3, 5, 10)
ASKED = 300
"""Queries of a task, about so many of its classes; fewer where classes have too few examples."""
_FEW = 7
_STRANGE = 10  # classes that are not shown, at most
FIRST = 1 << 20
"""The number of the first task: others than those of validation."""


@dataclass(frozen=True)
class Size:
    """ways, shots: of what is shown. strange: classes that are not. queries: of each class. tasks: how many of them."""

    ways: int
    shots: int
    strange: int
    queries: int
    tasks: int = 0

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.ways + self.strange, self.shots, self.queries)


class Tried(NamedTuple):
    """One task after it was learned. number: of its episode. logits: (q, N). familiar: (q, J). y: (q,) class ids, −1
    for inputs of none. left_out: the logits (m, N) of support examples that were left out, and their classes (m,)."""

    number: int
    evidence: Evidence
    logits: Tensor
    familiar: Tensor
    y: Tensor
    left_out: tuple[Tensor, Tensor]

    @property
    def accuracy(self) -> float:
        known = self.y >= 0
        return float((self.logits[known].argmax(1) == self.y[known]).double().mean())


def _fits(source: Source, split: str, size: Size) -> bool:
    """Whether the classes of a split are enough, and large enough, for tasks of this size."""
    try:
        source.sampled(size.sampling).check(split)
    except DataError:
        return False
    return True


def _fitted(engine: Engine, source: Source, split: str, ways: int, shots: int) -> Size | None:
    """The size with as many strange classes and queries as there can be; None where there are none."""
    if ways < 2:
        return None
    try:
        engine.learner.at(source.sampled(Sampling(ways, shots, 1)).spec)
    except ConfigError:
        return None
    for strange in range(min(max(2, ways // 2), _STRANGE), -1, -1):
        wanted = max(5, math.ceil(ASKED / ways))
        few = range(1, min(wanted, _FEW))  # where classes are small
        for queries in sorted({wanted, *few, *(max(1, wanted * k // 8) for k in range(1, 8))}, reverse=True):
            size = Size(ways, shots, strange, queries)
            if _fits(source, split, size):
                return size
    return None


def sizes(engine: Engine, source: Source, split: str, own: Sampling, tasks: int) -> list[Size]:
    """Half of the tasks are of the run's own size; the others of half and twice its ways, and of `SHOTS`. Where tasks
    are as they come, with no class left out, the others have a quarter, half and twice as many examples.

    DataError where not even those of its own size can be drawn.
    """
    if not source.balanced:
        return as_they_come(source, split, own, tasks, ASKED // 2)
    first = _fitted(engine, source, split, own.ways, own.shots)
    if first is None:
        raise DataError(
            f"The split {split!r} has too few classes or examples for {own.ways}-way {own.shots}-shot tasks with "
            "queries, so nothing tells how far answers can be believed. Hold out more."
        )
    ways = [own.ways, max(2, own.ways // 2), 2 * own.ways]
    pairs = [(n, k) for n in ways for k in sorted({*SHOTS, own.shots}) if (n, k) != (own.ways, own.shots)]
    others = [size for n, k in pairs if (size := _fitted(engine, source, split, n, k)) is not None]
    if not others:
        return [replace(first, tasks=tasks)]
    single = [size for size in others if (size.shots == 1) != (own.shots == 1)]
    share = [2 if size in single else 1 for size in others]
    each = [max(2, (tasks - tasks // 2) * part // sum(share)) for part in share]
    return [replace(first, tasks=tasks // 2), *(replace(one, tasks=n) for one, n in zip(others, each, strict=True))]


def as_they_come(source: Source, split: str, own: Sampling, tasks: int, asked: int) -> list[Size]:
    """Sizes where shots and queries count all examples of a task. asked: the queries, where there are so many.

    DataError where not even those of its own size can be drawn.
    """
    found: list[Size] = []
    for shots in (own.shots, own.shots // 4, own.shots // 2, 2 * own.shots):
        several = (Size(own.ways, shots, 0, count) for count in (max(own.queries, asked), own.queries))
        size = next((one for one in several if shots > 1 and _fits(source, split, one)), None)
        if size is not None and (found or shots == own.shots):
            found.append(size)
    if not found:
        raise DataError(
            f"The split {split!r} cannot give tasks of {own.shots} examples with queries, so nothing tells how far "
            "answers can be believed. Hold out more."
        )
    share = tasks if len(found) == 1 else tasks // 2
    others = [replace(one, tasks=max(2, (tasks - share) // (len(found) - 1))) for one in found[1:]]
    return [replace(found[0], tasks=share), *others]


def prepared(
    engine: Engine, params: Params, source: Source, split: str, size: Size, ways: int | None = None
) -> tuple[Engine, Source]:
    """An engine of the learner as it is after training, and the tasks of one size that it is to learn, of which inputs
    are embedded once where that can be. ways: that it tells apart; all that tasks have, if not given. DataError where
    the split has too few classes or examples."""
    source = source.sampled(size.sampling)
    source.check(split)
    engine, source = on_features(engine, params, source)
    spec = source.spec if ways is None else source.spec.at(ways)
    return replace(engine, learner=engine.learner.at(spec).evaluated(), chosen=None), source


def tried(
    engine: Engine,
    params: Params,
    source: Source,
    split: str,
    size: Size,
    first: int = FIRST,
    folds: int = FOLDS,
    strangers: bool = True,
    space: Space | None = None,
) -> Iterator[Tried]:
    """Tasks of one size, learned and asked. engine: of the run; its learner is taken as after training. folds,
    strangers: of what is left out, as `Trust` has them. space: of the trust that they are for."""
    engine, source = prepared(engine, params, source, split, size, size.ways)
    number = first
    for drawn in batches(source, split, size.tasks, engine.device, first):
        yield from _learned(engine, params, drawn, number, size, folds, strangers, space)
        number += len(drawn.query.mask)


def _learned(
    engine: Engine,
    params: Params,
    drawn: Episode,
    first: int,
    size: Size,
    folds: int,
    strangers: bool,
    space: Space | None,
) -> Iterator[Tried]:
    support = _shown(drawn.support, size)
    inner, after = embedded(engine, params, Episode(support, drawn.query))
    left = examined(inner, params, after.support, folds, strangers, space)

    def one(episode: Episode) -> tuple[Tensor, ...]:
        logits = inner.learner.predict(params, inner.learner.adapt(params, episode.support), episode.query.x)
        by = compared(inner.learner, params, episode.support, episode.query.x, space)
        return logits.double(), familiar(logits, episode.support, by)

    logits, near = inner.map(one, after)
    for i in range(len(logits)):
        own, mask = task(after, i), drawn.query.mask[i]
        y = torch.where(own.query.y < size.ways, own.query.y, -1)[mask].cpu()
        mine = type(left)(*(part[i] for part in left))
        proof = evidence(mine, own.support).to("cpu")
        alone = mine.logits[mine.told].cpu(), own.support.y[mine.told].cpu()
        if float(mine.ways) < 2:
            continue  # of a table that shows one class, where nothing is to be told apart
        yield Tried(first + i, proof, logits[i][mask].cpu(), near[i][mask].cpu(), y, alone)


def _shown(support: Examples, size: Size) -> Examples:
    """The support sets of T tasks without the classes that are not to be shown."""
    strange = support.y >= size.ways
    count = int((~strange).sum(1).max())
    order = strange.to(torch.uint8).argsort(dim=1, stable=True)[:, :count]

    def cut(t: Tensor) -> Tensor:
        return torch.stack([one[at] for one, at in zip(t, order, strict=True)])

    y, mask = cut(support.y), cut(support.mask & ~strange)
    return Examples(map_features(cut, support.x), torch.where(mask, y, 0), mask)
