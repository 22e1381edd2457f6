"""Copies of a module, lent to one call at a time, so that threads never see each other's weights or hooks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Copies:
    """Copies of `module`, which itself is never called. They share its tensors: a call brings values of its own.

    One thread is lent the same copy again and again; there are as many copies as there were calls at once.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._idle: list[nn.Module] = []

    def take(self) -> nn.Module:
        """A copy that no other call is using, until it is given back."""
        try:
            return self._idle.pop()  # taking and giving back are single steps for threads, so no lock is needed
        except IndexError:
            return self.new()

    def give_back(self, copied: nn.Module) -> None:
        self._idle.append(copied)

    def new(self, values: Mapping[str, Tensor] | None = None) -> nn.Module:
        """A copy that is the caller's to keep, with `values` in the place of parameters and buffers, wherever they are
        used; the other tensors are shared."""
        own = [
            *self.module.named_parameters(remove_duplicate=False),
            *self.module.named_buffers(remove_duplicate=False),
        ]
        instead: dict[int, Any] = {id(tensor): tensor for _, tensor in own}
        instead |= {id(tensor): values[name] for name, tensor in own if values and name in values}
        return copy.deepcopy(self.module, instead)

    def __reduce__(self) -> tuple[type[Copies], tuple[nn.Module]]:
        return Copies, (self.module,)
