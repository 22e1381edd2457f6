"""The outer steps of a run: the tasks of each, their meta-gradient by the plan in use, and φ that moves along it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.engine import Engine, Tuner
from quickstudy.engine.distribute import Group
from quickstudy.engine.kept import on_features
from quickstudy.engine.vectorize import Gradients
from quickstudy.episode import Episode, Params, map_episode
from quickstudy.registry import learners
from quickstudy.training.build import Parts
from quickstudy.training.choice import Choice, alignment
from quickstudy.training.config import RunConfig
from quickstudy.training.outer import Outer
from quickstudy.training.plans import PlanLog
from quickstudy.training.refusal import not_finite
from quickstudy.training.stop import StopRequests
from quickstudy.training.whole import WholeStep

_OF_VALIDATION = 1 << 41  # indices of validation tasks that gradients are compared with; validation never gets there


class Steps:
    """What takes them. parts, config, folder, group: as of `Training`. stop: what was asked of this process.

    outer: φ and what moves it. tuner, choice: of plans and of tasks. latest: the last tasks and their keys. midway:
    whether some of a step's tasks have moved φ already, so that it is of no step. stopping: whether all processes have
    agreed to stop.
    """

    outer: Outer
    latest: tuple[Episode, Tensor]

    def __init__(
        self, parts: Parts, config: RunConfig, folder: Path, group: Group, stop: StopRequests, outer: Outer
    ) -> None:
        self._parts, self._config, self._group, self._stop = parts, config, group, stop
        self.engine, self.source = parts.training_engine, parts.training
        self._plans = PlanLog(folder, group.leads)
        self._key = rng.key(config.seed, "estimator", device=self.engine.device)
        self._acts = learners.traits(config.learner.name).acts
        self._step, self.midway, self.stopping = 0, False, False
        self.tuner = Tuner(self.engine, config.compile, run=self._run)
        self.tuner.decided = self._plans.decided or not group.leads  # the others follow the leader's plan
        self.choice = Choice(self.source, config.choose, config.candidates, config.seed)
        self.begin(outer)

    def begin(self, outer: Outer) -> None:
        """Go on from another φ."""
        self.outer, self._whole = outer, WholeStep(outer)

    def embed(self) -> None:
        """Let tasks be of features, computed once, where what makes these does not move."""
        self.engine, self.source = on_features(self.engine, self.outer.params, self.source)
        self.tuner.engine = self.engine

    def take(self, step: int) -> tuple[Tensor, Tensor]:
        """The loss and metric of the step after `step` others, scalars. TrainingError where they are not finite."""
        self._step = step
        indices = self.choice.indices(self._step, self._config.meta_batch).to(self.engine.device)

        def tasks(mine: Tensor, group: Group | None = None) -> tuple[Episode, Tensor]:
            keys, params = rng.fold(self._key, mine), self.outer.params
            self.latest = self.engine.collected(self.source, params, "train", mine, keys, group), keys
            return self.latest

        if self._config.reuse == self._config.parts == 1 and not self._acts:
            return self._moved(indices, tasks)
        parts = indices.tensor_split(self._config.parts)
        shares = [self._group.share(part) for part in parts]
        episodes, keys = tasks(torch.cat(shares), self._group)
        found: list[tuple[Tensor, Tensor]] = []
        for _ in range(self._config.reuse):
            places = torch.split(torch.arange(len(keys), device=keys.device), [len(share) for share in shares])
            for part, place in zip(parts, places, strict=True):
                some = map_episode(itemgetter(place), episodes), keys[place]
                found.append(self._moved(part, partial(_given, some)))
        losses, metrics = zip(*found, strict=True)
        return torch.stack(losses).mean(), torch.stack(metrics).mean()

    def _moved(self, indices: Tensor, tasks: Callable[[Tensor], tuple[Episode, Tensor]]) -> tuple[Tensor, Tensor]:
        """The loss and metric of one outer step along the meta-gradient of these tasks."""
        self._planned()
        if self._group.size == 1 and self._whole.fits(self.tuner.engine) and not self.choice.aligned:
            moved = self._whole(self.tuner.engine, *tasks(indices))
            self._check(moved.norm, moved.loss, indices)
            self.outer.move(moved.changes, moved.slots)
            self.midway = True
            self.stopping = self._stop.asked
            self._refresh(indices)
            self.choice.learned(indices, moved.loss, None)
            return moved.loss.mean(), moved.metric.mean()
        grads, loss, metric = self._together(lambda: self._gradients(*tasks(self._group.share(indices))), len(indices))
        norm = torch.nn.utils.get_total_norm(grads.values())
        self._check(norm, loss, indices)
        self.choice.learned(indices, loss, self._alignment(grads) if self.choice.aligned else None)
        self.outer.step(grads, norm)
        self.midway = True
        self._refresh(indices)
        return loss.mean(), metric.mean()

    def _alignment(self, grads: Params) -> Tensor:
        """The cosine of a step's gradient with that of as many validation tasks, which are others in each step."""
        first, count = self._step * self._config.meta_batch, self._config.meta_batch
        indices = _OF_VALIDATION + first + torch.arange(count, device=self.engine.device)
        engine, source = self._parts.engine, self._parts.source
        keys = rng.fold(self._key, indices)
        episodes = engine.collected(source, self.outer.params, "val", indices, keys)
        return alignment(grads, engine.gradients(self.outer.params, episodes, keys)[0])

    def _refresh(self, indices: Tensor) -> None:
        """Let buffers follow φ that a call in training changes; all processes do so by the step's first task."""
        self.outer.put(self.engine.refreshed(self.outer.params, self.source, indices[0], self._key))

    def _run(self, engine: Engine, params: Params, episodes: Episode, keys: Tensor) -> None:
        """For the tuner's clock: the meta-gradient, and the optimizer's step where one graph holds both; φ stays."""
        if self._group.size == 1 and self._whole.fits(engine):
            self._whole(engine, episodes, keys)
        else:
            engine.gradients(params, episodes, keys)

    def _planned(self) -> None:
        """Take the plan that is in use at this step."""
        before = self._plans.at(self._step)
        if before is not None and before != self.tuner.engine.plan:
            self.tuner.engine = self.engine.planned(before)

    def _gradients(self, episodes: Episode, keys: Tensor) -> Gradients:
        """The meta-gradient by the present plan, which may be measured on the way."""
        plan = self.tuner.engine.plan
        gradients = self.tuner.gradients(self.outer.params, episodes, keys, self._config.iterations - self._step)
        if self.tuner.engine.plan != plan:
            self._plans.add(self._step + 1, self.tuner.engine.plan)
        return gradients

    def _together(self, own: Callable[[], Gradients], total: int) -> Gradients:
        """What all processes found for this step, of so many tasks. They also agree on whether to stop, and on the
        leader's plan."""

        def flags() -> list[bool]:
            return [
                self._stop.asked,
                self._group.leads and self._plans.at(self._step + 1) != self._plans.at(self._step),
            ]

        where = f"step {self._step + 1}"
        gradients, (self.stopping, planned) = self._group.mean(own, self.outer.moving, total, flags, where)
        if planned:
            self._plans.follow(self._step + 1, self._group, where)
        return gradients

    def _check(self, norm: Tensor, loss: Tensor, indices: Tensor) -> None:
        if not bool(torch.isfinite(loss.sum() + norm)):
            raise not_finite(self._config, self._step, self.outer.rates[0], indices, loss, saved=not self.midway)


def _given(episodes: tuple[Episode, Tensor], _: Tensor) -> tuple[Episode, Tensor]:
    """Tasks that are at hand, whichever are asked for."""
    return episodes
