"""Drawing the weights of a module anew, by the methods that its layers have for it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import parametrize

from quickstudy.models.given import is_given

_PRIVATE = (nn.MultiheadAttention, nn.Transformer)  # whose method has another name


def resets(layer: nn.Module) -> bool:
    """Whether a layer is drawn where φ is."""
    public = callable(getattr(layer, "reset_parameters", None))
    return (public or isinstance(layer, _PRIVATE)) and not is_given(layer)


def draw(module: nn.Module) -> None:
    """Draw all layers that can be, from PyTorch's generator; in place."""
    layers = [layer for layer in module.modules() if resets(layer)]
    for layer in layers:
        if not isinstance(layer, _PRIVATE):
            _reset(layer)
    for layer in reversed(layers):  # these also draw the layers inside them, in their own way
        if isinstance(layer, _PRIVATE):
            layer._reset_parameters()


def _reset(layer: nn.Module) -> None:
    """Draw a layer; where a weight is a function of others (`torch.nn.utils.parametrize`), those that give it."""
    if not parametrize.is_parametrized(layer):
        layer.reset_parameters()  # type: ignore[operator]
        return
    with torch.no_grad(), parametrize.cached():
        weights = {name: getattr(layer, name) for name in _parametrized(layer)}
        layer.reset_parameters()  # type: ignore[operator]
        drawn = {name: weight.clone() for name, weight in weights.items()}
    for name, weight in drawn.items():
        if _inverts(layer, name):
            setattr(layer, name, weight)


def _parametrized(layer: nn.Module) -> list[str]:
    lists = layer.parametrizations
    return list(lists) if isinstance(lists, nn.ModuleDict) else []


def _inverts(layer: nn.Module, name: str) -> bool:
    return all(hasattr(one, "right_inverse") for one in layer.get_submodule(f"parametrizations.{name}").children())


def undrawn(module: nn.Module) -> Iterator[str]:
    """The names of the parameters that `draw` leaves as they are."""
    drawn = {path for path, layer in module.named_modules() if resets(layer)}
    for name, _ in module.named_parameters():
        parts = name.split(".")
        owner = next((".".join(parts[:n]) for n in range(len(parts) - 1, -1, -1) if ".".join(parts[:n]) in drawn), None)
        inside = name.removeprefix(f"{owner}.").split(".") if owner is not None else []
        if owner is None or (inside[0] == "parametrizations" and not _inverts(module.get_submodule(owner), inside[1])):
            yield name
