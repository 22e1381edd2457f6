"""Networks that start from weights of their own: which layers were given with them, and which are drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from quickstudy.errors import ConfigError
from quickstudy.inner.partition import matching
from quickstudy.models.given import forget_marks, keep_weights

_WHOLE = "_quickstudy_whole"


def as_given(module: nn.Module) -> nn.Module:
    """A copy of the user's `module` whose layers keep their weights where φ is drawn, wherever they are built in."""
    module = copy.deepcopy(module)
    keep_weights(module)
    setattr(module, _WHOLE, True)
    return module


def given_part(module: nn.Module) -> nn.Module:
    """What the user gave of `module`, without its marks; all of it if no part was."""
    part = next((one for one in module.modules() if hasattr(one, _WHOLE)), module)
    forget_marks(part)
    vars(part).pop(_WHOLE, None)
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
