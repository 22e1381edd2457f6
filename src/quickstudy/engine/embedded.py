"""Examples of a pool are embedded once, in however many tasks they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from quickstudy.engine.core import Engine
from quickstudy.engine.kept import PROBED, on_features, stand_alone
from quickstudy.episode import Features, Params, leaves, map_features
from quickstudy.formats.base import Format
from quickstudy.learners import Learner
from quickstudy.registry import formats
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool
from quickstudy.tasks.wrapped import changed, innermost

_BATCH = 128  # examples that are embedded at once
_MOST = 1 << 27  # numbers that are held


class Book:
    """The embeddings (D,) of `count` examples, each made when it is first asked for.

    make: (m,) numbers of examples to (m, D). most: how many numbers are held; beyond, all that was made is forgotten.
    """

    def __init__(self, make: Callable[[Tensor], Tensor], count: int, most: int = _MOST) -> None:
        self._make, self._most = make, most
        self._z: Tensor | None = None
        self._place = torch.full((count,), -1, dtype=torch.int64)

    def __call__(self, numbers: Tensor) -> Tensor:
        """Of examples (n,) int64, (n, D)."""
        asked = numbers.cpu()
        fresh = torch.unique(asked[self._place[asked] < 0])
        if self._z is not None and (len(self._z) + len(fresh)) * self._z.shape[1] > self._most:
            self._z, fresh = None, torch.unique(asked)
            self._place.fill_(-1)
        if len(fresh):
            made = [self._make(part) for part in fresh.split(_BATCH)]
            before = [] if self._z is None else [self._z]
            self._place[fresh] = sum(map(len, before)) + torch.arange(len(fresh))
            self._z = torch.cat([*before, *made])
        assert self._z is not None
        return self._z[self._place[asked].to(self._z.device)]


@dataclass(frozen=True, kw_only=True)
class EmbeddedSource(ClassSource):
    """The tasks of a source of classes, with embeddings in the place of examples: `book` has that of each example as
    each symmetry turns it. Its pool holds the numbers of examples."""

    book: Book = field(repr=False)

    def __post_init__(self) -> None:
        """Symmetries are of the examples, which are in `book`, and none of embeddings."""

    def examples(
        self,
        split: str,
        classes: Tensor,
        items: Tensor,
        turns: Tensor | None,
        keys: Tensor | None,
        features: Callable[[Features], Features] | None = None,
    ) -> Features:
        rows = self.pool.fetch(classes, items, lambda stored: stored)
        assert isinstance(rows, Tensor)
        return self.book(rows * self.symmetries + (0 if turns is None else turns))


def on_embeddings(engine: Engine, params: Params, source: Source, split: str) -> tuple[Engine, Source]:
    """The engine after training, and the source with embeddings in the place of examples, see `Learner.embedded`.

    What no such learner embeds, and what changes before it is embedded, is left as it is: then on the features of a
    frozen encoder at most, see `on_features`. Nothing of the source is augmented any more where `split` is not.
    """
    held = innermost(source)
    if all(isinstance(one, ClassSource) and split not in _augmented(one) for one in held):
        source = source.plain()
    engine, source = on_features(engine, params, source)
    learner = engine.learner.evaluated()
    after, format, held = learner.embedded, source.spec.format, innermost(source)
    if after is None or format.prepares or learner.spec.format != format or not all(map(_as_held, held)):
        return engine, source
    kept: dict[int, EmbeddedSource] = {}
    for inner in held:
        assert isinstance(inner, ClassSource)
        if id(inner) not in kept:
            embedded = _embedded(engine, learner, params, inner)
            if embedded is None:
                return engine, source
            kept[id(inner)] = embedded
    source = changed(source, lambda inner: kept[id(inner)])
    done = replace(after, spec=replace(learner.spec, format=source.spec.format))
    return replace(engine, learner=done, vectorize="auto", chosen=None), source


def _augmented(source: ClassSource) -> tuple[str, ...]:
    return source.augmented_splits if source.augmentation else ()


def _as_held(source: Source) -> bool:
    """Whether its examples reach the network as a pool holds them, or as one of a few symmetries turns them."""
    return type(source) is ClassSource and isinstance(source.pool, TensorPool) and not source.augmentation


def _embedded(engine: Engine, learner: Learner, params: Params, inner: ClassSource) -> EmbeddedSource | None:
    """None where embeddings are no vectors, or depend on what an example is embedded with."""
    pool, turned = inner.pool, inner.symmetries
    assert isinstance(pool, TensorPool)

    def made(numbers: Tensor) -> Tensor:
        x = pool.format.features(map_features(lambda t: t.index_select(0, (numbers // turned).to(t.device)), pool.x))
        x = map_features(lambda t: t.to(engine.device), x)
        if turned > 1:
            x = pool.format.turned(x, (numbers % turned).to(engine.device))
        with torch.no_grad(), engine.autocast():
            z = learner.embed(params, x)
        return z.float() if isinstance(z, Tensor) and z.is_floating_point() else torch.zeros(0)

    stored = leaves(pool.x)[0]
    count = len(stored) * turned
    probed = torch.linspace(0, count - 1, min(count, PROBED)).long()
    few = made(probed)
    if few.dim() != 2 or not stand_alone(made, probed, few, engine):
        return None
    seen: Format = formats.make("array", shape=(few.shape[1],))
    rows = torch.arange(len(stored), device=stored.device)
    own = {part.name: getattr(inner, part.name) for part in fields(ClassSource)}
    own |= {"pool": replace(pool, format=seen, x=rows), "spec": replace(inner.spec, format=seen)}
    return EmbeddedSource(**own, book=Book(made, count))
