"""Learners whose networks hold their tensors: one adapted task as an ordinary module, for prediction by many threads
and for export, and playing by the same φ at each step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar

from torch import Tensor, nn

from quickstudy.episode import Features, Params, State
from quickstudy.learners.base import Learner
from quickstudy.learners.copies import Copies
from quickstudy.learners.network import Network
from quickstudy.targets.distribution import Distribution

L = TypeVar("L", bound=Learner)


def frozen(learner: Learner, params: Params, state: State) -> Frozen:
    """φ and ψ of one task bound into a module of their own: `frozen(…)(x)` is `learner.predict(params, state, x)`.

    The numbers are the same to the last bit. What prediction needs of φ and ψ is copied, as buffers called 'params.…'
    and 'state.…', so that neither later training nor another task changes the answers. Nothing is swapped at a call:
    any number of threads may call it. Gradients are recorded unless the caller says `torch.no_grad()`, for x alone.
    """
    return Frozen(learner, params, state)


def bound(learner: L, tensors: Iterable[Tensor]) -> L:
    """The same learner for many calls with the same tensors, which must not change: its networks hold them, and nothing
    is swapped at a call. Gradients do not reach them."""
    found, constants = copy.copy(learner), frozenset(map(id, tensors))
    for field in fields(learner):
        if isinstance(network := getattr(learner, field.name), Network):
            object.__setattr__(found, field.name, _Bound(network, constants))
    return found


class _Tensors(nn.Module):
    """Tensors by name, copied; 'a.b' is the buffer b of the part a. Calling it gives them back."""

    def __init__(self, values: Params) -> None:
        super().__init__()
        places = []
        for name, value in values.items():
            *path, last = name.split(".")
            part: nn.Module = self
            for step in path:
                part = part._modules.setdefault(step, nn.Module())  # type: ignore[assignment]
            part._buffers[last] = value.detach().clone()  # any name will do here, also that of a method
            places.append((name, part, last))
        self._places = tuple(places)

    def forward(self) -> Params:
        return {name: part._buffers[last] for name, part, last in self._places}  # type: ignore[misc]


class Frozen(nn.Module):
    """What `frozen` gives."""

    def __init__(self, learner: Learner, params: Params, state: State) -> None:
        super().__init__()
        params, state = learner.predicts_with(params, state)
        self.params, self.state = _Tensors(params), _Tensors(state)
        self._learner = learner
        self.register_load_state_dict_post_hook(_loaded)  # type: ignore[no-untyped-call]
        self._bind()

    def __repr__(self) -> str:
        count = sum(value.numel() for value in self.state_dict().values())
        return f"Frozen({type(self._learner).__name__}, {self._learner.spec}, {count:,} numbers)"

    def forward(self, x: Features) -> Tensor:
        return self._bound.predict(self.params(), self.state(), x)

    def predictive(self, x: Features) -> Distribution | None:
        """What the learner's `predictive` says of x: mean and spread, or None."""
        return self._bound.predictive(self.params(), self.state(), x)

    def _bind(self) -> None:
        """Make networks that hold the buffers as they are now."""
        self._bound = bound(self._learner, self.buffers())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._bind()
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_bound"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._bind()


def _loaded(module: nn.Module, _: object) -> None:
    assert isinstance(module, Frozen)
    module._bind()


class _Bound:
    """Stands for a network in a frozen learner: given frozen tensors alone, it calls a private module that holds them,
    of which each of several calls at once has a copy: a module may leave things in its attributes while it is called.

    constants: the identities of the frozen tensors. With others, which a learner made of them during the call or which
    stand for them while the module is traced, the network runs as it always does.
    """

    def __init__(self, network: Network, constants: frozenset[int]) -> None:
        self._network, self._constants = network, constants
        self._holding: dict[tuple[Any, ...], Copies] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, params: Params, x: Features, task: Params | None = None, step: Tensor | None = None) -> Tensor:
        task = task or {}
        given = [*params.values(), *task.values()] if step is None else [*params.values(), *task.values(), step]
        identities = tuple(map(id, given))
        key = (*params, None, *task, None, *identities)
        copies = self._holding.get(key)
        if copies is None:
            if not self._constants.issuperset(identities):
                return self._network(params, x, task, step)
            copies = self._holding.setdefault(key, Copies(self._network.holding(params, task, step)))
        module = copies.take()
        try:
            return self._network.run(module, x)
        finally:
            copies.give_back(module)
