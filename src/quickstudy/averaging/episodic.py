"""Members that train a learner on tasks: the parts are sets of classes, such as alphabets or customers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from quickstudy import rng
from quickstudy.averaging.members import Member
from quickstudy.averaging.parts import split
from quickstudy.brief import Brief
from quickstudy.engine import Engine
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, DataError
from quickstudy.metagrads.base import detached
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource
from quickstudy.training.options import OuterOptions
from quickstudy.training.outer import Outer


@dataclass(frozen=True, eq=False)
class Episodic(Brief, Member):
    """Meta-training of a learner on the tasks of a part: its classes, and no others.

    engine: how meta-gradients are computed. sources: one for each part, of which the split 'train' is used. outer: how
    φ moves, as in a run that is trained in one place. The optimizer's state begins anew in each round, since it belongs
    to the φ of one member; the schedule goes on from round to round, and so its `iterations` are those of all rounds.
    steps: outer steps of one round, each on `tasks` tasks.
    """

    engine: Engine
    sources: tuple[Source, ...]
    outer: OuterOptions
    steps: int = 10
    tasks: int = 4

    def __post_init__(self) -> None:
        if self.outer.average:
            raise ConfigError(
                "Members are averaged as they are at the end of a round, and a moving average would hold them back, "
                f"found one with the decay {self.outer.average}. Set average=0."
            )

    @classmethod
    def by_group(
        cls, engine: Engine, source: ClassSource, outer: OuterOptions, steps: int = 10, tasks: int = 4
    ) -> Episodic:
        """One part for each group of training classes (alphabet, customer) that is large enough for a task."""
        ids = source.splits["train"]
        groups = source.pool.groups[ids]
        least = source.sampling.ways
        classes = [ids[groups == group] for group in sorted(set(groups.tolist()))]
        parts = [replace(source, splits={**source.splits, "train": own}) for own in classes if len(own) >= least]
        if not parts:
            raise DataError(f"No group of training classes has the {least} classes of a task. Lower the ways.")
        if len(parts) < 2:
            raise DataError(
                "Only one group of training classes is large enough for a task, so there is nothing to train apart. "
                "Deal the classes out instead: --divide classes --parts 4, or divide='classes'."
            )
        return cls(engine, tuple(parts), outer, steps, tasks)

    @classmethod
    def by_class(
        cls,
        engine: Engine,
        source: ClassSource,
        outer: OuterOptions,
        parts: int,
        steps: int = 10,
        tasks: int = 4,
    ) -> Episodic:
        """Training classes dealt out alike to `parts` parts, each of which must have enough for a task."""
        ids = source.splits["train"]
        own = [ids[part] for part in split(torch.arange(len(ids)), parts, seed=source.seed)]
        if len(own[-1]) < source.sampling.ways:
            raise DataError(
                f"{len(ids)} training classes in {parts} parts leave {len(own[-1])} for each, but a task has "
                f"{source.sampling.ways}. Make fewer parts, or lower the ways."
            )
        made = tuple(replace(source, splits={**source.splits, "train": mine}) for mine in own)
        return cls(engine, made, outer, steps, tasks)

    @property
    def sizes(self) -> list[int]:
        return [1] * len(self.sources)

    def __call__(self, params: Params, part: int, turn: int) -> Params:
        source, device = self.sources[part], self.engine.device
        outer = Outer({name: value.clone() for name, value in params.items()}, self.outer, self.engine.learner.moves)
        outer.skip(turn * self.steps)
        key = rng.key(source.seed, "estimator", part, device=device)
        for step in range(turn * self.steps, (turn + 1) * self.steps):
            indices = torch.arange(step * self.tasks, (step + 1) * self.tasks, device=device)
            keys = rng.fold(key, indices)
            episodes = self.engine.collected(source, outer.params, "train", indices, keys)
            grads, _, _ = self.engine.gradients(outer.params, episodes, keys)
            outer.step(grads, torch.nn.utils.get_total_norm(grads.values()))
            outer.put(self.engine.refreshed(outer.params, source, indices[0], key))
        return detached(outer.params)
