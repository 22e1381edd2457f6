"""A network in two halves: a frozen encoder, whose features of an example never change, and what follows it."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from quickstudy.formats.base import Format
from quickstudy.formats.passing import nothing_for
from quickstudy.learners.hooks import has_own_hooks, hooks
from quickstudy.learners.network import Network
from quickstudy.models.head import Encoded
from quickstudy.models.readers import Reader

_CALLED = ("forward", "__call__", "_call_impl", "__iter__")


class Halves(NamedTuple):
    """`after(φ, encoder(φ, x))` is `network(φ, x)`, for the φ of the whole network."""

    encoder: Network
    after: Network


def halves(network: Network, format: Format) -> Halves | None:
    """The halves of a network for inputs of this format; None where nothing at its beginning is frozen for good.

    Frozen are layers without parameters that are trained, whose BatchNorm normalises by given averages, and which draw
    nothing. Looked at are networks that are frozen as a whole, `nn.Sequential`, and encoders with a head, where what
    they compute is known to be one stage after another, of which none has a part of another.
    """
    module = network.module
    if isinstance(module, Reader):  # what it is given are whole support sets
        return None
    if any(isinstance(layer, _BatchNorm) for layer in module.modules()) and network.norm != "given":
        return None
    stages = _stages(module)
    count = next((i for i, name in enumerate(stages) if _moves(module.get_submodule(name))), len(stages))
    encoder, after = _without(module, stages[count:]), _without(module, stages[:count])
    if not _moves(module):
        encoder, after = module, nn.Identity()
    elif not count or _parts(module, stages[:count]) & _parts(module, stages[count:]):
        return None
    if not [*encoder.parameters(), *encoder.buffers()]:
        return None  # there is nothing to save
    if not network.plain:
        with torch.no_grad():
            nature = network.nature(nothing_for(module, format, 2))
        if nature.draws or nature.changes:
            return None
    return Halves(_half(network, encoder), _half(network, after))


def _stages(module: nn.Module) -> list[str]:
    """The names of the layers that the module calls one after another, each with what the last gave, and nothing else;
    none where that is not certain."""
    kind = next((kind for kind in (nn.Sequential, Encoded) if isinstance(module, kind)), None)
    if kind is None or any(getattr(type(module), name, None) is not getattr(kind, name, None) for name in _CALLED):
        return []
    if any("forward" in vars(layer) for layer in module.modules()) or any(True for _ in hooks(module)):
        return []
    return [] if has_own_hooks(module) else list(module._modules)


def _parts(module: nn.Module, stages: list[str]) -> set[int]:
    """The identities of all modules and tensors of these stages."""
    layers = [module.get_submodule(name) for name in stages]
    found = [part for layer in layers for part in (layer.modules(), layer.parameters(), layer.buffers())]
    return {id(one) for part in found for one in part}


def _moves(module: nn.Module) -> bool:
    return any(value.requires_grad for value in module.parameters())


def _without(module: nn.Module, stages: list[str]) -> nn.Module:
    """A copy of the module that passes over these stages."""
    copied = copy.deepcopy(module)
    for name in stages:
        setattr(copied, name, nn.Identity())
    return copied


def _half(network: Network, module: nn.Module) -> Network:
    half = Network(module, network.norm, network.steps, network.inner_loop, network.name, part=True)
    half.__dict__["frozen"] = network.frozen  # what is frozen in the other half is not this one's to move, either
    return half
