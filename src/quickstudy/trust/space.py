"""What embeddings of a run's training classes are like: how far classes lie apart in each direction, in units of how
far examples lie from their class. One task is too small to tell; its own examples are then held against it."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.engine.kept import on_features
from quickstudy.episode import Episode, Examples, Params
from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.evaluate import at_once
from quickstudy.masked import one_hot
from quickstudy.tasks.base import Sampling, Source

_EXAMPLES, _MOST_SHOTS, _LEAST_CLASSES = 2400, 10, 8
_SHRINKAGE = 0.5  # of the spread within classes towards the same in all directions
_WIDEST, _MOST = 512, 64  # dimensions that spreads are found in, and directions that are kept
_LEAST = 1e-3  # by which classes vary in a direction, in units of their examples
_OWN = 8.0  # examples by which the spread of training classes counts in that of a task
_FIRST = 1 << 21


class Coordinates(NamedTuple):
    """Support examples (n, r) and inputs (m, r) in a `Space`, and its `between` (r,). about: (n, n), (m, n) and (m,),
    inner products about the mean of the space: among support examples, of inputs with these, with themselves."""

    own: Tensor
    asked: Tensor
    between: Tensor
    about: tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Space:
    """Directions (D, r) in which examples of a class vary by 1 and class means by `between` (r,), about a mean (D,).

    packed: the mean and then the directions, as base64 of float32.
    """

    size: int
    between: tuple[float, ...]
    packed: str

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        numbers = torch.frombuffer(bytearray(base64.b64decode(self.packed)), dtype=torch.float32)
        return numbers[: self.size], numbers[self.size :].view(self.size, len(self.between))

    def at(self, known: Tensor, z: Tensor) -> Coordinates:
        """Of embeddings of support examples (n, D) and of inputs (m, D)."""
        mean, directions = (part.to(z) for part in self._tensors)
        known, z = known - mean, z - mean
        between = torch.tensor(self.between, dtype=torch.float64, device=z.device)
        about = (known @ known.T).double(), (z @ known.T).double(), z.square().sum(1).double()
        return Coordinates((known @ directions).double(), (z @ directions).double(), between, about)


def space_of(z: Tensor, of: Tensor) -> Space | None:
    """Of embeddings z (n, D) of examples, numbered by what they are examples of, (n,) int64: several of each, all alike
    in number. None where they do not vary.

    The spread within classes is drawn halfway to the same in all directions (Ledoit & Wolf 2004), and the directions
    are those of linear discriminants (Fisher 1936).
    """
    z = z.double()
    groups = int(of.max()) + 1
    mean, each = z.mean(0), len(z) / groups
    away = z - mean
    basis = _principal(away)
    away = away if basis is None else away @ basis
    means = torch.zeros((groups, away.shape[1]), dtype=away.dtype).index_add(0, of, away) / each
    rest = away - means[of]
    within = rest.T @ rest / max(len(z) - groups, 1)
    size = float(within.diagonal().mean())
    if size <= 0 or not math.isfinite(size):
        return None
    values, vectors = torch.linalg.eigh(within)
    whiten = vectors * ((1 - _SHRINKAGE) * values.clamp(min=0) + _SHRINKAGE * size).rsqrt()
    apart = means @ whiten
    values, vectors = torch.linalg.eigh(apart.T @ apart / max(groups - 1, 1))
    order = values.argsort(descending=True)[:_MOST]
    between = values[order] - 1 / each
    order, between = order[between > _LEAST], between[between > _LEAST]
    if not len(order):
        return None
    directions = whiten @ vectors[:, order]
    directions = directions if basis is None else basis @ directions
    numbers = torch.cat([mean, directions.flatten()])
    packed = base64.b64encode(numbers.float().cpu().numpy().tobytes()).decode()
    return Space(z.shape[1], tuple(between.tolist()), packed)


def _principal(away: Tensor) -> Tensor | None:
    """An orthonormal basis (D, d) of the directions in which (n, D) vary most; None where all D are few enough.

    It is found by subspace iteration from random directions (Halko, Martinsson & Tropp 2011).
    """
    if away.shape[1] <= _WIDEST:
        return None
    start = torch.randn((len(away), _WIDEST // 2), generator=torch.Generator().manual_seed(0), dtype=away.dtype)
    basis = torch.linalg.qr(away.T @ start).Q
    for _ in range(2):
        basis = torch.linalg.qr(away.T @ (away @ basis)).Q
    found: Tensor = basis
    return found


def fitted_space(engine: Engine, params: Params, source: Source, ways: int) -> Space | None:
    """Of the classes of `train`, or of `val` where it has too few; None of learners that embed nothing once and for
    all, or where classes are too few. ways: classes that are drawn at once, at most."""
    if engine.learner.embedded is None:
        return None
    source = source.plain()
    for split in ("train", "val"):
        if (sampling := _sampling(source, split, ways)) is not None:
            return _space(engine, params, source.sampled(sampling), split)
    return None


def _sampling(source: Source, split: str, ways: int) -> Sampling | None:
    if 0 < len(source.classes(split)) < _LEAST_CLASSES:
        return None
    for shots in range(_MOST_SHOTS, 2, -1):
        for count in sorted({ways, min(ways, 5), 2}, reverse=True):
            sampling = Sampling(count, shots, 1)
            try:
                source.sampled(sampling).check(split)
            except (DataError, ConfigError):
                continue
            return sampling
    return None


def _space(engine: Engine, params: Params, source: Source, split: str) -> Space | None:
    engine, source = on_features(engine, params, source)
    size = source.sampling
    learner = engine.learner.at(source.spec.at(size.ways)).evaluated()
    after = learner.embedded
    assert after is not None
    engine = replace(engine, learner=learner, chosen=None)
    tasks = math.ceil(_EXAMPLES / (size.ways * size.shots))
    places, groups = [], []
    for start in range(0, tasks, at_once(source)):
        indices = _FIRST + torch.arange(start, min(start + at_once(source), tasks), device=engine.device)
        drawn = source.episodes(split, indices).support

        def one(episode: Episode) -> tuple[Any, ...]:
            return (after.compared(params, learner.embed(params, episode.support.x)),)

        z = engine.map(one, Episode(drawn, drawn))[0]
        if not (isinstance(z, Tensor) and z.dim() == 3 and z.is_floating_point()):
            return None
        of = drawn.y + size.ways * (indices - _FIRST)[:, None]
        places.append(z[drawn.mask].float().cpu())
        groups.append(of[drawn.mask].cpu())
    _, of = torch.unique(torch.cat(groups), return_inverse=True)
    return space_of(torch.cat(places), of)


def _class_means(support: Examples, at: Coordinates, ways: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each class, (N, r) what its mean is expected to be and (N, r) its variance, from its examples and from how
    far classes lie apart; (N,) the number of its examples, and its members (n, N)."""
    members = (one_hot(support.y, ways) & support.mask[:, None]).to(at.own.dtype)
    counts = members.sum(0)
    means = members.T @ at.own / counts.clamp(min=1)[:, None]
    sure = at.between / (at.between * counts[:, None] + 1)
    return means * sure * counts[:, None], sure, counts, members


def likely(support: Examples, at: Coordinates, ways: int) -> Tensor:
    """(m, 3): the log of how much likelier an input is as one more example of a class than as one of another,
    for the likeliest class and in the mean over classes, by normal distributions of examples and of class means
    (probabilistic linear discriminants; Ioffe 2006, Prince & Elder 2007); and the largest cosine with a class mean
    about the mean of all training classes."""
    mean, sure, counts, members = _class_means(support, at, ways)
    present, x = counts > 0, at.asked[:, None]
    alone = (at.asked.square() / (at.between + 1) + (at.between + 1).log()).sum(1)
    own = ((x - mean).square() / (sure + 1) + (sure + 1).log()).sum(2)
    ratio = torch.where(present, (alone[:, None] - own) / 2, -torch.inf)
    every = ratio.logsumexp(1) - present.sum().clamp(min=1).to(ratio.dtype).log()
    share = members / counts.clamp(min=1)
    among, asked, size = at.about
    norms = (share.T @ among @ share).diagonal().clamp(min=1e-12)
    cosines = torch.where(present, asked @ share / (norms * size.clamp(min=1e-12)[:, None]).sqrt(), -1.0)
    return torch.stack([ratio.amax(1), every, cosines.amax(1)], 1)


def expected(support: Examples, at: Coordinates, ways: int) -> Tensor:
    """arcsin √ of the accuracy, a scalar, that means of the classes would have if classes were normal, with the spread
    of training classes and of these: of each class, the product over others of how often an example is nearer to its
    own mean.
    """
    mean, sure, counts, members = _class_means(support, at, ways)
    present = counts > 0
    plain = members.T @ at.own / counts.clamp(min=1)[:, None]
    total = (members.sum(1)[:, None] * (at.own - members @ plain)).square().sum() / at.own.shape[1]
    free = (counts - 1).clamp(min=0).sum()
    spread = (total + _OWN) / (free + _OWN)
    away = mean[:, None] - mean
    far = away.square().sum(2)
    wide = (away.square() * (sure[:, None] + 1)).sum(2) * spread
    right = (0.5 * (1 + torch.erf(far / (8 * wide).clamp(min=1e-12).sqrt()))).log()  # Φ(far / 2 √wide)
    others = present & ~torch.eye(ways, dtype=torch.bool, device=mean.device)
    each = torch.where(others, right, 0.0).sum(1).exp()
    accuracy = torch.where(present, each, 0.0).sum() / present.sum().clamp(min=1)
    return accuracy.clamp(0.01, 0.999).sqrt().asin()
