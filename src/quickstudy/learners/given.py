"""Networks that start from weights of their own: which layers were given with them, and which are drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from quickstudy.errors import ConfigError, ModelError
from quickstudy.inner.partition import matching
from quickstudy.models.given import forget_marks, keep_weights

_WHOLE = "_quickstudy_whole"


def as_given(module: nn.Module) -> nn.Module:
    """A copy of the user's `module` whose layers keep their weights where φ is drawn, wherever they are built in."""
    module = copy.deepcopy(module)
    keep_weights(module)
    setattr(module, _WHOLE, True)
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
            told = f"has no part {self.name!r:.80}" + (f": {', '.join(map(str, parts))}" if parts else "")
            raise ModelError(f"What the network gives, a {type(output).__name__}, {told:.400}.")
        return parts[self.name] if self.name in parts else getattr(output, self.name)


def given_part(module: nn.Module) -> nn.Module:
    """What the user gave of `module`, as it was given; all of it if no part was."""
    part = next((one for one in module.modules() if hasattr(one, _WHOLE)), module)
    forget_marks(part)
    vars(part).pop(_WHOLE, None)
    for layer in part.modules():
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
