"""What is heard of a network while others call it, by one thread, for as long as it listens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.episode import Features, Params
from quickstudy.formats.passing import arguments
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


def last_called(module: nn.Module, x: Features, registered: str) -> str:
    """The path of the layer with parameters of its own that a call on x (n, …) calls last.

    registered: the one that is registered last, which is it if it is used without being called.
    """
    called: list[str] = []
    own = {path: list(layer.parameters(recurse=False)) for path, layer in module.named_modules()}
    for path, values in own.items():
        if values:
            module.get_submodule(path).register_forward_pre_hook(lambda _, inputs, path=path: called.append(path))
    given, named = arguments(module.eval().requires_grad_(), x)
    with torch.enable_grad():
        output = module(*given, **named)
    if not called:
        return registered
    if registered not in called and isinstance(output, Tensor) and output.requires_grad:
        slopes = torch.autograd.grad(output.sum(), own[registered], allow_unused=True)
        if any(slope is not None for slope in slopes):
            return registered
    return called[-1]


def recorded(network: object) -> Recording | None:
    return _recordings.get().get(network)


def refreshes(network: object) -> Params | None:
    return _refreshings.get().get(network)
