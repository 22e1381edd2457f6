"""One network trained for a whole space: its parts are the weights of all others.

A smaller network takes the leading filters, and the middle of the filters' planes, of the largest one (Cai et al. 2020,
"Once-for-all"). In each outer step the tasks are learned with one network drawn by chance and with the largest, and the
gradients of both move what they share. It is then enough to ask what each network reaches with the weights that it
takes, after its BatchNorm statistics were computed anew. Where time is limited only networks that keep the limit are
trained: the largest of a space may cost a hundred times as much, and nobody asks for them.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.entries import trainable
from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.evaluation.evaluate import evaluate
from quickstudy.evaluation.result import Result
from quickstudy.search.spaces import corners, with_network
from quickstudy.space import Range, Space, Values, key
from quickstudy.tasks.base import Source
from quickstudy.training.build import Parts, build, calibrated, initial_params
from quickstudy.training.config import RunConfig
from quickstudy.training.outer import Outer

_AT_HAND = 24  # networks that are kept built


def place(small: torch.Size, large: torch.Size) -> tuple[slice, ...]:
    """Where a tensor of the shape `small` lies in one of the shape `large`: leading entries of the first two axes, and
    the middle of the others. ConfigError where it does not fit."""
    if len(small) != len(large) or any(a > b for a, b in zip(small, large, strict=True)):
        raise ConfigError(
            f"Weights of shape {tuple(small)} cannot be a part of those of shape {tuple(large)}: the networks of this "
            "space do not share theirs. Search it without sharing."
        )
    begins = [0 if axis < 2 else (b - a) // 2 for axis, (a, b) in enumerate(zip(small, large, strict=True))]
    return tuple(slice(begin, begin + a) for begin, a in zip(begins, small, strict=True))


def _grown(old: Tensor | None, new: Tensor) -> Tensor:
    """A tensor that both are parts of: the larger on each axis, with `old` where it lies, and around it `new`, or
    numbers drawn like its own where it does not reach."""
    if old is None:
        return new.clone()
    shape = torch.Size(max(a, b) for a, b in zip(old.shape, new.shape, strict=True))
    if shape == old.shape:
        return old
    spread = float(new.std()) if new.numel() > 1 and new.is_floating_point() else 0.0
    generator = torch.Generator().manual_seed(new.numel())
    grown = (spread * torch.randn(shape, generator=generator)).to(new)
    for part in (new, old):
        grown[place(part.shape, shape)] = part
    return grown


@dataclass
class Supernet:
    """config: a run whose model leaves options open. source: its tasks.

    Networks that differ in a choice may have weights of other names; those that differ in a range have smaller or fewer
    ones of the same names.
    """

    config: RunConfig
    source: Source
    shared: Params = field(default_factory=dict)
    steps: int = 0

    def __post_init__(self) -> None:
        if not self.space.axes:
            raise ConfigError("The model leaves no option open, so that there is one network. Give ranges or choices.")
        self._parts: OrderedDict[str, Parts] = OrderedDict()
        self._shapes: dict[str, dict[str, torch.Size]] = {}

    @property
    def space(self) -> Space:
        return self.config.model.space

    def corners(self, both: bool = False) -> list[Values]:
        """The largest network for each combination of choices; with `both`, those at all ends of the ranges."""
        return corners(self.space, both)

    def parts(self, point: Values) -> Parts:
        """Learner and engine with the network of a point."""
        name = key(point)
        if name not in self._parts:
            self._parts[name] = build(self.made(point), None, self.source)
            if len(self._parts) > _AT_HAND:
                self._parts.popitem(last=False)
        self._parts.move_to_end(name)
        return self._parts[name]

    def params(self, point: Values) -> Params:
        """φ of a point's network: views of what is shared, which grows where it is too small for that."""
        name = key(point)
        if name not in self._shapes:
            made = initial_params(self.parts(point), self.made(point))
            for entry, value in made.items():
                self.shared[entry] = _grown(self.shared.get(entry), value)
            self._shapes[name] = {entry: value.shape for entry, value in made.items()}
        return {n: self.shared[n][place(shape, self.shared[n].shape)] for n, shape in self._shapes[name].items()}

    def _largest(self, members: Sequence[Values]) -> list[Values]:
        """Of the members with the same choices the one with most weights."""
        choices = [name for name, axis in self.space.axes.items() if not isinstance(axis, Range)]
        found: dict[str, tuple[int, Values]] = {}
        for point in members:
            size = sum(value.numel() for value in self.params(point).values())
            kind = key({name: point[name] for name in choices})
            if kind not in found or size > found[kind][0]:
                found[kind] = (size, point)
        return [point for _, point in found.values()]

    def train(
        self,
        seconds: float = math.inf,
        steps: float = math.inf,
        members: Sequence[Values] = (),
        *,
        spent: float = 0.0,
        every: float = math.inf,
        save: Callable[[float], None] = lambda spent: None,
    ) -> None:
        """Outer steps for so many seconds, or so many steps, with a rate that falls to nothing at their end.

        members: the networks that are trained; all of the space if there are none. spent: seconds before, of training
        that was stopped; the outer optimizer begins anew then. save: called with the seconds spent, each `every`
        seconds, at the end, and where it is stopped.
        """
        generator = np.random.default_rng([self.config.seed, 7, self.steps])
        for point in members or self.corners(both=True):
            self.params(point)
        corners = self._largest(members) if members else self.corners()
        outer = Outer(self.shared, replace(self.config, iterations=1, schedule="none", average=0.0).outer)
        keys = rng.key(self.config.seed, "supernet", device=self.parts(self.corners()[0]).engine.device)
        began, first, saved = time.perf_counter() - spent, self.steps, spent
        try:
            while (share := max((now := time.perf_counter() - began) / seconds, (self.steps - first) / steps)) < 1:
                if now - saved > every:
                    save(now)
                    saved = now
                outer.slow_down(0.5 * (1 + math.cos(math.pi * share)))
                one = members[int(generator.integers(len(members)))] if members else self.space.draw(1, generator)[0]
                drawn = [one, corners[self.steps % len(corners)]]
                outer.step(*self._gradients(drawn, keys))
                self.shared = outer.params
                self.steps += 1
        finally:
            save(time.perf_counter() - began)

    def _gradients(self, points: list[Values], keys: Tensor) -> tuple[Params, Tensor]:
        """The sum over points of meta-gradients, in the shapes that are shared, and its norm."""
        each = [self.params(point) for point in points]
        total = {n: torch.zeros_like(v) for n, v in self.shared.items() if trainable(n)}
        first = self.steps * self.config.meta_batch
        for point, params in zip(points, each, strict=True):
            parts = self.parts(point)
            indices = torch.arange(first, first + self.config.meta_batch, device=parts.engine.device)
            episodes = parts.training.episodes("train", indices)
            grads, loss, _ = parts.training_engine.gradients(params, episodes, rng.fold(keys, indices))
            if not bool(torch.isfinite(loss).all()):
                raise ConfigError(f"The loss of {point} is not finite. Lower the outer rate (--lr).")
            for name, grad in grads.items():
                total[name][place(grad.shape, total[name].shape)] += grad
        norm = torch.nn.utils.get_total_norm(total.values())
        if not bool(torch.isfinite(norm)):
            raise ConfigError(f"The meta-gradient of {points} is not finite. Lower the outer rate (--lr).")
        return total, norm

    def evaluated(self, point: Values, episodes: int) -> Result:
        """What a network reaches on validation tasks with the weights that it takes."""
        parts = self.parts(point)
        return evaluate(parts.engine, self.calibrated(point), parts.source, "val", episodes, compare_supports=False)

    def calibrated(self, point: Values) -> Params:
        """φ of a network of its own, with its BatchNorm statistics."""
        own = {name: value.detach().clone() for name, value in self.params(point).items()}
        return calibrated(self.parts(point), self.made(point), own)

    def made(self, point: Values) -> RunConfig:
        """The config with the network of a point."""
        return with_network(self.config, point)
