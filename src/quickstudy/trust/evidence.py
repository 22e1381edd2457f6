"""What a support set says of its own task: its examples are left out in turn, and so are its classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.episode import Episode, Examples, Features, Params
from quickstudy.learners import Learner
from quickstudy.masked import masked_mean, masked_quantile, one_hot
from quickstudy.trust.familiar import Products, familiar, products, spreads
from quickstudy.trust.space import Space, expected

FOLDS, FEW_FOLDS = 10, 4
"""How many times examples are left out at most, and of learners that read all examples anew each time."""
_CLASS_FOLDS = 4  # at most
_AT_ONCE = 1 << 20  # products of examples with each other, at most, where several parts are left out at once
SINGLE = ("log ways", "log shots", "margin among classes", "nearest classes")
SEVERAL = (
    *SINGLE, "left-out accuracy", "left-out log-probability", "left-out probability", "left-out confidence",
    "left-out margin", "least margins", "spread",
)  # fmt: skip
IN_SPACE = ("expected accuracy",)
LEFT_OUT = SEVERAL.index("left-out accuracy")


class LeftOut(NamedTuple):
    """What is said of the n support examples of a task, or of T with a task axis.

    logits: (n, N) of each example, learned without it. told: (n,) which have another of their class to be learned from.
    known: (n, J) how familiar each is then. strange: (n, J), where its whole class was left out. ways, shots: of the
    task, the mean over its classes. margin: the mean of how far the logit of its own class is above all others, where
    none is left out. nearest, spread: see `spreads`, 0 where there are no embeddings.
    expected: (1,) the accuracy that a `Space` expects, as `expected` has it; (0,) without one.
    """

    logits: Tensor
    told: Tensor
    known: Tensor
    strange: Tensor
    ways: Tensor
    shots: Tensor
    margin: Tensor
    nearest: Tensor
    spread: Tensor
    expected: Tensor


class Evidence(NamedTuple):
    """What prediction needs of it. features: (f,) of the task, by the names in SINGLE or SEVERAL and, with a `Space`,
    IN_SPACE. known, strange: (J,) the mean familiarity of examples that were left out, and of classes; known is NaN
    from one example of each class. several: whether there are examples that could be left out.
    """

    features: Tensor
    known: Tensor
    strange: Tensor
    several: bool

    def to(self, device: torch.device | str) -> Evidence:
        return Evidence(self.features.to(device), self.known.to(device), self.strange.to(device), self.several)


def ranks(support: Examples) -> Tensor:
    """How many examples of its own class come before each, (n,) int64."""
    same = (support.y[:, None] == support.y) & support.mask[:, None] & support.mask
    return same.tril(-1).sum(1)


def compared(
    learner: Learner, params: Params, support: Examples, z: Features, space: Space | None = None
) -> Products | None:
    """The products of embeddings z with those of a support set, as the learner compares them; None without any."""
    if learner.embedded is None:
        return None
    return products(support._replace(x=learner.compared(params, support.x)), learner.compared(params, z), space)


def left_out(
    learner: Learner,
    params: Params,
    support: Examples,
    folds: int,
    strangers: bool = True,
    space: Space | None = None,
    tasks: int = 1,
) -> LeftOut:
    """Of one task. folds: at most so many are left out in turn, every folds-th example of each class at once.

    learner: after training; if it has `embedded`, that one, and support.x are embeddings. strangers: leave classes out,
    too; `strange` is 0 otherwise. tasks: how many are looked at at the same time, by `vmap`.
    """
    ways, classes = learner.spec.ways, _CLASS_FOLDS if strangers else 0
    if strangers and not torch.compiler.is_exporting():  # of any number of ways: those that no class is in say nothing
        classes = min(ways, classes)
    members = one_hot(support.y, ways) & support.mask[:, None]
    counts = members.sum(0)
    several = (members & (counts > 1)).any(1)
    by = compared(learner, params, support, support.x, space)

    def without(gone: Tensor) -> tuple[Tensor, Tensor]:
        known = support._replace(mask=support.mask & ~gone)
        logits = learner.predict(params, learner.adapt(params, known), support.x)
        return logits, familiar(logits, known, by)

    nobody = torch.zeros_like(support.y)
    fold = torch.where(several, 1 + ranks(support) % folds, 0) if folds else nobody  # in which it is left out; 0: none
    of_class = torch.where(support.mask, 1 + folds + support.y % classes, 0) if classes else nobody
    numbers = torch.arange(1, 1 + folds + classes, device=support.y.device)[:, None]
    gone = torch.cat([torch.zeros_like(support.mask)[None], (fold == numbers) | (of_class == numbers)])
    logits, near = _each(without, gone, None if learner.embedded is None else tasks)
    whole, known = logits[0], _at(fold, near)
    strange = torch.where((of_class > 0)[:, None], _at(of_class, near), 0.0)
    there = (counts > 0).sum().clamp(min=1)
    margins = _margins(whole.double(), support.y.clamp(min=0))
    margin = masked_mean(torch.where(support.mask, margins, 0.0), support.mask)
    spread, nearest = (torch.zeros_like(margin),) * 2 if by is None else spreads(support, by, ways)
    inside = None if by is None else by.inside
    accuracy = margin.new_zeros(0) if inside is None else expected(support, inside, ways)[None]
    return LeftOut(
        _at(fold, logits).double(), several & support.mask, known, strange, there.double(),
        support.mask.sum().double() / there, margin,
        nearest, spread, accuracy,
    )  # fmt: skip


def _each(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], values: Tensor, tasks: int | None
) -> tuple[Tensor, Tensor]:
    """What a function of n examples says of each of F masks (F, n), along a first axis: of as many at once as memory
    has room for, with so many tasks; of one after another where each reads all examples anew (None)."""
    if torch.compiler.is_exporting():
        return torch.vmap(function)(values)  # a graph would hold it F times
    products = (tasks or 1) * values.shape[1] ** 2
    at_once = 1 if tasks is None else min(len(values), _AT_ONCE // max(products, 1))
    if at_once <= 1:
        first, second = zip(*map(function, values), strict=True)
        return torch.stack(first), torch.stack(second)
    said: tuple[Tensor, Tensor] = torch.vmap(function, chunk_size=at_once)(values)
    return said


def _at(number: Tensor, said: Tensor) -> Tensor:
    """Of what is said F times of each of n examples (F, n, …), that with the number (n,) which each has: (n, …)."""
    return said.gather(0, number[None, :, None].expand(1, *said.shape[1:]))[0]


def folds_of(support: Examples, most_folds: int = FOLDS) -> int:
    """The folds for one task, or for T of them: as many as the largest class has examples, `most_folds` at most; 0
    where none has two."""
    one = support.y.dim() == 1
    y, mask = (support.y[None], support.mask[None]) if one else (support.y, support.mask)
    most = int((one_hot(y, max(1, int(y.max()) + 1)) & mask[..., None]).sum(1).max())
    return 0 if most < 2 else min(most, most_folds)


def examined(
    engine: Engine,
    params: Params,
    support: Examples,
    most_folds: int = FOLDS,
    strangers: bool = True,
    space: Space | None = None,
) -> LeftOut:
    """`left_out` of T tasks; engine: of a learner after training, as there. Every leaf has a task axis."""
    folds = folds_of(support, most_folds)

    def one(episode: Episode) -> tuple[Tensor, ...]:
        return left_out(engine.learner, params, episode.support, folds, strangers, space, len(support.y))

    return LeftOut(*engine.map(one, Episode(support, support)))


def evidence(left: LeftOut, support: Examples, several: bool | None = None) -> Evidence:
    """Of one task. several: whether it is taken for one with examples that could be left out; what it is, if not given.

    Masks take the place of indices, so that a graph can hold it.
    """
    told, y = left.told, support.y.clamp(min=0)
    features = [left.ways.log(), left.shots.log(), left.margin, left.nearest]
    strange = _mean_row(left.strange, support.mask)
    if not (bool(told.any()) if several is None else several):
        return Evidence(torch.stack([*features, *left.expected]), torch.full_like(strange, torch.nan), strange, False)
    logits = torch.where(told[:, None], left.logits, 0.0)  # of padding, a network may say NaN
    logs, margin = logits.log_softmax(1), _margins(logits, y)
    own = logs.gather(1, y[:, None])[:, 0].clamp(min=-20)
    right = ((margin > 0) & told).double()
    smoothed = (right.sum() + 0.5) / (told.sum() + 1)
    features += [
        smoothed.sqrt().asin(), masked_mean(own, told), masked_mean(own.exp(), told),
        masked_mean(logs.amax(1).exp(), told), masked_mean(margin, told), masked_quantile(margin, told, 0.1),
        left.spread, *left.expected,
    ]  # fmt: skip
    return Evidence(torch.stack(features), _mean_row(left.known, told), strange, True)


def _margins(logits: Tensor, y: Tensor) -> Tensor:
    """How far the logit of its own class y (n,) is above all others, (n,), of logits (n, N)."""
    others = torch.where(one_hot(y, logits.shape[1]), -torch.inf, logits).amax(1)
    return (logits.gather(1, y[:, None])[:, 0] - others).clamp(-50, 50)


def _mean_row(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the rows of `values` (n, J) where `mask` (n,) is True; 0 where there is none."""
    return torch.where(mask[:, None], values, 0.0).sum(0) / mask.sum().clamp(min=1)


def embedded(engine: Engine, params: Params, episodes: Episode) -> tuple[Engine, Episode]:
    """The engine and T episodes after the inputs were embedded, once; both as they are where nothing is."""
    learner = engine.learner.evaluated()
    if (after := learner.embedded) is None:
        return _with(engine, learner), episodes

    def one(episode: Episode) -> tuple[Features, Features]:
        return learner.embed(params, episode.support.x), learner.embed(params, episode.query.x)

    support, query = engine.map(one, episodes)  # type: ignore[arg-type]
    done = Episode(episodes.support._replace(x=support), episodes.query._replace(x=query))
    return _with(engine, after), done


def _with(engine: Engine, learner: Learner) -> Engine:
    return replace(engine, learner=learner, vectorize="auto", chosen=None)
