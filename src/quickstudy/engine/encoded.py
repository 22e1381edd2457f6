"""Features of a frozen encoder in the place of records, so that sources of several formats come in one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.brief import Brief
from quickstudy.engine.core import Engine
from quickstudy.engine.kept import on_features
from quickstudy.episode import Params, leaves, map_features
from quickstudy.errors import ConfigError, ShapeError
from quickstudy.formats.base import Format
from quickstudy.heads import Prototypes
from quickstudy.learners import EmbeddingLearner, Network
from quickstudy.learners.copies import copied
from quickstudy.learners.given import as_given
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.tasks.pool import TensorPool
from quickstudy.tasks.wrapped import changed


@dataclass(frozen=True, eq=False)
class Encoder(Brief):
    """A network with its weights, which nothing moves, and the format of what it sees; its features are vectors.

    size: how many numbers they are, 0 for as many as the network gives. Shorter ones are followed by zeros, which
    change no distance and no cosine, so that encoders of several formats can have one size. device: where it runs.

    >>> import quickstudy as qs
    >>> encoder = Encoder(nn.Linear(3, 4), qs.formats.Array(shape=(3,)), size=6)
    >>> encoder.features(torch.ones(2, 3)).shape
    torch.Size([2, 6])
    """

    module: nn.Module
    format: Format
    size: int = 0
    device: str = "cpu"

    @cached_property
    def _learner(self) -> EmbeddingLearner:
        module = copied(as_given(self.module)).requires_grad_(False)
        spec = TaskSpec(self.format, targets.make("classes"))
        return EmbeddingLearner(network=Network(module, "given"), spec=spec, head=Prototypes())

    @cached_property
    def _params(self) -> Params:
        params = self._learner.init(torch.Generator().manual_seed(0))
        return {name: value.to(self.device) for name, value in params.items()}

    def source(self, source: Source) -> Source:
        """The same tasks with the features of their records, which are kept for the next time.

        ConfigError for tasks whose records change before they are seen, as augmented ones do, or are made up.
        """
        found = source.to(self.device)
        if source.spec.format == self.format:
            engine = Engine(replace(self._learner, spec=source.spec), torch.device(self.device))
            _, found = on_features(engine, self._params, found)
        if found.spec.format == source.spec.format:
            raise ConfigError(
                f"The features of these tasks cannot be kept: their records, {source.spec.format}, are not those of "
                f"the encoder ({self.format}), are augmented, or are made up. Give plain tasks of fixed classes."
            )
        return changed(found, self._sized)

    def _sized(self, source: Source) -> Source:
        assert isinstance(source, ClassSource) and isinstance(source.pool, TensorPool)
        x = self._whole(*leaves(source.pool.x))
        format: Format = formats.make("array", shape=(x.shape[1],))
        pool = replace(source.pool, format=format, x=x)
        return replace(source, pool=pool, spec=replace(source.spec, format=format))

    def features(self, records: Any) -> Tensor:
        """The features (n, size) of records as the format takes them, on `device`: of a new task, for `run.adapt`.

        ShapeError for records that are none of the format.
        """
        x = self.format.features(self.format.store(records).x)
        self.format.check(x, 1, "records")
        x = map_features(lambda t: t.to(self.device), x)
        with torch.no_grad():
            return self._whole(self._learner.embed(self._params, x))

    def _whole(self, z: Tensor) -> Tensor:
        z = z.flatten(1).float()
        if self.size and z.shape[1] > self.size:
            raise ShapeError(
                f"The encoder gives {z.shape[1]} numbers, more than size={self.size}. Give at least the size of the "
                "largest encoder."
            )
        return F.pad(z, (0, self.size - z.shape[1])) if self.size else z
