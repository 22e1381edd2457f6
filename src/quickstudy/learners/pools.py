"""A network's module as it is called: pools of copies for each way of normalising, in training and afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.episode import Features, map_features
from quickstudy.formats.passing import arguments
from quickstudy.learners.cells import ElementaryCells, recurs
from quickstudy.learners.chance import Drawing
from quickstudy.learners.copies import Copies
from quickstudy.learners.hooks import has_own_hooks
from quickstudy.learners.nature import is_plain, spares
from quickstudy.learners.normalise import without_state

Watch = tuple[tuple[str, Callable[[nn.Module, Any], None]], ...]
NOBODY: Watch = ()
_ONE_AT_A_TIME = threading.RLock()


class Pools:
    """Copies of a module without state. plain: it is known to draw nothing and to change nothing when it is called.

    by_batch: they normalise by the batch at hand. by_statistics: by statistics that they are given, in `layers`.
    inner_loop: the module is differentiated inside an inner loop.
    """

    def __init__(self, module: nn.Module, layers: tuple[str, ...], inner_loop: bool) -> None:
        self.by_batch, self.by_statistics = (Copies(without_state(module, stored)) for stored in ((), layers))
        self.plain, self._spares = is_plain(self.by_batch.module), spares(self.by_batch.module)
        both = () if self.plain else (self.by_batch, self.by_statistics)
        self._resting = {copies: Copies(copies.new().eval()) for copies in both}
        self._inner_loop, self._recurs, self._hooked = inner_loop, recurs(module), has_own_hooks(module)
        self._attends = any(isinstance(m, nn.TransformerEncoderLayer | nn.MultiheadAttention) for m in module.modules())

    def resting(self, copies: Copies) -> Copies:
        """Those of one pool as they are after training, where that may be otherwise."""
        return self._resting.get(copies, copies)

    def call(
        self, copies: Copies, values: dict[str, Any], x: Features, watch: Watch, drawing: Drawing | None
    ) -> Tensor:
        """The output for x of one of `copies` at these values; each of `watch` is told what enters a layer, by path."""
        module, hooks = copies.take(), []
        try:
            for path, told in watch:
                hooks.append(module.get_submodule(path).register_forward_pre_hook(told))
            with self._alone(), self._cells(), self._at_rest() if drawing is None else drawing:
                output: Tensor = torch.func.functional_call(module, values, *self.arguments(module, x))
            return output
        finally:
            for hook in hooks:
                hook.remove()
            copies.give_back(module)

    def run(self, holding: nn.Module, x: Features) -> Tensor:
        """The output for x of a module that holds its values itself."""
        given, named = self.arguments(holding, x)
        with self._alone(), self._cells(), self._at_rest():
            output: Tensor = holding(*given, **named)
        return output

    def arguments(self, module: nn.Module, x: Features) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a module is called with: a copy of x, where it may work in place."""
        return arguments(module, x if self._spares else map_features(torch.clone, x))

    def _alone(self) -> AbstractContextManager[Any]:
        """Within it no other network runs that has hooks of the user's: what they leave outside the module is found by
        the same call."""
        return _ONE_AT_A_TIME if self._hooked else nullcontext()

    def _cells(self) -> AbstractContextManager[None]:
        return ElementaryCells(always=self._inner_loop) if self._recurs else nullcontext()

    def _at_rest(self) -> AbstractContextManager[Any]:
        """Within it PyTorch leaves out a fused form of its transformers, which `vmap` cannot follow and whose answers
        have other bits than those of training; any mode, whatever it does, has this effect."""
        return Drawing(None) if self._attends and not self.plain else nullcontext()
