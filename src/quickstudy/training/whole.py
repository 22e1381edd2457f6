"""An outer step as one graph: the meta-gradient, its norm, and the optimizer's move along it."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.episode import Episode, Params
from quickstudy.training.outer import Outer

# A step of theirs is the rate times a direction, and takes no number out of a tensor, which a graph could not follow.
_CAPTURED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adadelta)
_OWN = ("params", "lr", "fused", "foreach", "capturable", "differentiable")


class Moved(NamedTuple):
    """Where an outer step leads, before anything is moved there.

    changes: of the trainable entries of φ. slots: the optimizer's, by 'ENTRY/SLOT'. norm: of the meta-gradient, a
    scalar. loss, metric: of each task, (T,).
    """

    changes: Params
    slots: Params
    norm: Tensor
    loss: Tensor
    metric: Tensor


class WholeStep:
    """The steps of `outer` as part of an engine's graph, which for small networks saves a tenth of the time.

    The optimizer's own code is captured, on copies and at the rate 1; φ moves by the rate times what that moves. The
    rates, which schedules change, are an argument therefore, and all other options are constants of the graph.
    """

    def __init__(self, outer: Outer) -> None:
        self._outer = outer
        self._kind: Any = type(outer.optimizer)
        self._takes = set(inspect.signature(self._kind).parameters)
        self._options, self._changed = self._present(), False
        self._name = f"step of {self._kind.__name__} {self._options}, clipped at {outer.clip}"

    def _present(self) -> dict[str, Any]:
        group = self._outer.optimizer.param_groups[0]
        options = {name: value for name, value in group.items() if name in self._takes and name not in _OWN}
        return {name: tuple(o) if isinstance(o, list) else o for name, o in options.items()}  # JSON knows no tuples

    def fits(self, engine: Engine) -> bool:
        """Whether the next step can be made so: by the engine's plan, and by the optimizer, its options and state.

        Never again once a schedule has changed an option other than the rate.
        """
        self._changed = self._changed or self._options != self._present()
        if not engine.whole or self._kind not in _CAPTURED or self._changed:
            return False
        stateless = self._kind is torch.optim.SGD and not self._options["momentum"]
        return stateless or bool(self._outer.optimizer.state)

    def __call__(self, engine: Engine, episodes: Episode, keys: Tensor | None = None) -> Moved:
        """The step along the meta-gradient over `episodes`. CompileError where it cannot be captured."""
        outer = self._outer
        rates = next(iter(outer.moving.values())).new_tensor(outer.rates)
        (changes, slots, norm), loss, metric = engine.extended(
            self._name, self._move, outer.params, episodes, keys, outer.slots(), rates
        )
        return Moved(changes, slots, norm, loss, metric)

    def _move(self, params: Params, grads: Params, slots: Params, rates: Tensor) -> tuple[Params, Params, Tensor]:
        norm = torch.stack([grad.square().sum() for grad in grads.values()]).sum().sqrt()
        if self._outer.clip:
            share = (self._outer.clip / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grads_with_norm_ does
            grads = {name: grad * share for name, grad in grads.items()}
        copies = {name: params[name].detach().clone() for name in grads}
        optimizer = self._kind(copies.values(), lr=1.0, differentiable=True, **self._options)
        for name, value in copies.items():
            value.grad = grads[name]
        for place, slot in slots.items():
            name, kind = place.rsplit("/", 1)
            # A power of float32 close to 1 is too rough for the correction of the first steps' bias.
            optimizer.state[copies[name]][kind] = slot.double() if kind == "step" else slot.clone()
        self._kind.step.__wrapped__(optimizer)  # without the profiler's marks, which would be in the graph
        rate = {name: rates[index] for name, index in self._outer.group_of.items()}
        changes = {name: rate[name] * (value - params[name]) for name, value in copies.items()}
        after = {place: optimizer.state[copies[name]][kind] for place in slots for name, kind in [place.rsplit("/", 1)]}
        return changes, {place: slot.to(slots[place].dtype) for place, slot in after.items()}, norm
