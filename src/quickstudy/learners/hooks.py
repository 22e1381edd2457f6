"""What a module was told to call beside its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

_KINDS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def hooks(layer: nn.Module) -> Iterator[Callable[..., Any]]:
    """The hooks of one layer."""
    for kind in _KINDS:
        yield from getattr(layer, kind).values()


def is_own_hook(hook: Callable[..., Any]) -> bool:
    """Whether a hook is the user's, which may do anything, and neither PyTorch's nor quickstudy's."""
    return str(getattr(hook, "__module__", "")).split(".")[0] not in ("torch", "quickstudy")


def has_own_hooks(module: nn.Module) -> bool:
    """Whether any layer has a hook of the user's."""
    return any(is_own_hook(hook) for layer in module.modules() for hook in hooks(layer))
