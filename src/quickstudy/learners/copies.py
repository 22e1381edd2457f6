"""Copies of a module, lent to one call at a time, so that threads never see each other's weights or hooks."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


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

    def new(self) -> nn.Module:
        """A copy that shares the tensors of the module's parameters and buffers, and is the caller's to keep."""
        shared: dict[int, Any] = {id(value): value for value in [*self.module.parameters(), *self.module.buffers()]}
        return copy.deepcopy(self.module, shared)

    def __reduce__(self) -> tuple[type[Copies], tuple[nn.Module]]:
        return Copies, (self.module,)
