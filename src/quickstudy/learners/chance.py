"""What networks draw at random in training, as dropout does: a function of a key, and of nothing hidden.

Within `chances(key)`, each draw of a network is one of `quickstudy.rng`, by the key, the inner step, and how many draws
came before it in the same call. So episodes repeat, on any number of threads and in any order, and computing a step
again for its gradient draws the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from types import FunctionType
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from quickstudy import rng
from quickstudy.errors import ModelError
from quickstudy.learners.draws import DRAWS, ONLY_IF, UNKNOWN

QUERIES = -1
"""The number of the part of an episode in which queries are judged; inner steps have the numbers from 0 on."""
_key: ContextVar[Tensor | None] = ContextVar("chance", default=None)


@contextmanager
def chances(key: Tensor | None) -> Iterator[None]:
    """Within it, networks draw by `key`, () int64; where it is None they draw nothing, as after training."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


def apart(number: Tensor | int) -> AbstractContextManager[None]:
    """A block within which draws are others than outside; a number each for the parts of an episode."""
    key = _key.get()
    return chances(None if key is None else rng.fold(key, number))


def chance() -> Tensor | None:
    """The key to draw by; None where nothing is to be drawn."""
    return _key.get()


class Drawing(TorchFunctionMode):
    """Within it, functions of PyTorch that draw at random do so by a key. drawn: how often they were asked to.

    key: () int64; None leaves the draws as they are, and counts them. Raises ModelError for functions that are not
    known here.
    """

    def __init__(self, key: Tensor | None) -> None:
        super().__init__()
        self._key, self.drawn = key, 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        draw = DRAWS.get(function)
        if draw is None and function not in UNKNOWN:
            if function not in _COMPOSED:
                return function(*args, **kwargs)
            with self:
                return _seen_through(function)(*args, **kwargs)
        if not all(so(*args, **kwargs) for so in ONLY_IF.get(function, ())):
            return function(*args, **kwargs)
        self.drawn += 1
        if self._key is None:
            return function(*args, **kwargs)
        if draw is None or kwargs.get("out") is not None:
            raise ModelError(
                f"The network draws at random by {resolve_name(function)}, which cannot be made to repeat. Draw by "
                "torch.rand, torch.randn or torch.bernoulli instead, or switch it off."
            )
        return draw(rng.fold(self._key, self.drawn), *args, **kwargs)


_COMPOSED = {
    F.dropout, F.alpha_dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.feature_alpha_dropout, F.rrelu,
    F.gumbel_softmax, F.multi_head_attention_forward, F.fractional_max_pool2d_with_indices,
    F.fractional_max_pool3d_with_indices,
}  # fmt: skip


@cache
def _seen_through(function: FunctionType) -> FunctionType:
    """A function of `torch.nn.functional` that does not ask for modes itself, so that they see what it calls."""
    nobody = {name: lambda *_: False for name in vars(F) if name.startswith("has_torch_function")}
    copied = FunctionType(
        function.__code__, {**vars(F), **nobody}, function.__name__, function.__defaults__, function.__closure__
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied
