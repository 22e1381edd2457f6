"""Layers that came with weights of their own, which are kept where φ is drawn."""

from __future__ import annotations

from torch import nn

_MARK = "_quickstudy_given"


def keep_weights(module: nn.Module) -> None:
    """Let all layers of `module` keep their weights where φ is drawn, wherever they are built in; in place."""
    for layer in module.modules():
        setattr(layer, _MARK, True)


def is_given(layer: nn.Module) -> bool:
    """Whether a layer keeps its weights where φ is drawn."""
    return bool(getattr(layer, _MARK, False))


def keep_mark(layer: nn.Module, instead: nn.Module) -> None:
    """Let the layer that stands `instead` of another be given if that was."""
    setattr(instead, _MARK, is_given(layer))


def forget_marks(module: nn.Module) -> None:
    """Let `module` be as if it had never been marked; in place."""
    for layer in module.modules():
        vars(layer).pop(_MARK, None)
