"""What is heard of a network while others call it, by one thread, for as long as it listens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor, nn

from quickstudy.episode import Params
from quickstudy.learners.moments import Moments


class Recording(NamedTuple):
    """moments: of what enters BatchNorm layers, called by their paths after `under`."""

    moments: Moments
    under: str

    def hear(self, path: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A hook that is told what enters the layer at `path`."""
        self.moments.add(self.under + path, inputs[0].detach())


_recordings: ContextVar[Mapping[object, Recording]] = ContextVar("recordings", default=MappingProxyType({}))
_refreshings: ContextVar[Mapping[object, Params]] = ContextVar("refreshings", default=MappingProxyType({}))


@contextmanager
def recording(network: object, moments: Moments, under: str) -> Iterator[Moments]:
    """Within it, `recorded(network)` is what calls of the network are to tell."""
    token = _recordings.set({**_recordings.get(), network: Recording(moments, under)})
    try:
        yield moments
    finally:
        _recordings.reset(token)


@contextmanager
def refreshing(network: object) -> Iterator[Params]:
    """Within it, `refreshes(network)` is where the first call of the network is to put its buffers as they become."""
    after: Params = {}
    token = _refreshings.set({**_refreshings.get(), network: after})
    try:
        yield after
    finally:
        _refreshings.reset(token)


def recorded(network: object) -> Recording | None:
    return _recordings.get().get(network)


def refreshes(network: object) -> Params | None:
    return _refreshings.get().get(network)
