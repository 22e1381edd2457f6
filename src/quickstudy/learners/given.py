"""Networks that start from weights of their own: which layers were given with them, and which are drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from quickstudy.errors import ConfigError, ModelError
from quickstudy.inner.partition import matching

_MARK = "_quickstudy_given"


def as_given(module: nn.Module) -> nn.Module:
    """A copy of `module` whose layers keep their weights where φ is drawn, wherever they are built in."""
    module = copy.deepcopy(module)
    for layer in module.modules():
        setattr(layer, _MARK, True)
    return module


def giving(module: nn.Module, output: str) -> nn.Module:
    """A copy of `module` whose output is the part called `output` of what the module gives: of a dict by its key, of a
    tuple by its number, of anything else by the name of its attribute."""
    module = copy.deepcopy(module)
    module.register_forward_hook(_Part(output))
    return module


@dataclass(frozen=True)
class _Part:
    """A hook that takes one part of an output."""

    name: str

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        parts = dict(output) if isinstance(output, Mapping) else {}
        if isinstance(output, tuple | list):
            parts = {str(index): part for index, part in enumerate(output)}
        if self.name not in parts and not hasattr(output, self.name):
            told = f": {', '.join(map(str, parts))}" if parts else ""
            raise ModelError(f"What the network gives, a {type(output).__name__}, has no part {self.name!r}{told}.")
        return parts[self.name] if self.name in parts else getattr(output, self.name)


def is_given(layer: nn.Module) -> bool:
    """Whether a layer keeps its weights where φ is drawn."""
    return bool(getattr(layer, _MARK, False))


def keep_mark(layer: nn.Module, instead: nn.Module) -> None:
    """Let the layer that stands `instead` of another be given if that was."""
    setattr(instead, _MARK, is_given(layer))


def given_part(module: nn.Module) -> nn.Module:
    """The outermost part of `module` that was given, as it was given; all of it if none was."""
    part = next(filter(is_given, module.modules()), module)
    for layer in part.modules():
        vars(layer).pop(_MARK, None)
        for number in [number for number, hook in layer._forward_hooks.items() if isinstance(hook, _Part)]:
            del layer._forward_hooks[number]
    return part


def freeze_all_but(module: nn.Module, patterns: Sequence[str]) -> None:
    """Let only the parameters that match be trained, in place; see `matching`. What was frozen stays so.

    Raises ConfigError for a pattern that matches none.
    """
    names = [name for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not matching([pattern.removeprefix("!")], names):
            raise ConfigError(
                f"No parameter matches {pattern.removeprefix('!')!r}, which says what is trained. The network's "
                f"parameters are: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}."
            )
    trained = set(matching(patterns, names))
    for name, value in module.named_parameters():
        value.requires_grad_(value.requires_grad and name in trained)
