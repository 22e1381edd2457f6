"""Members that train a learner on tasks: the parts are sets of classes, such as alphabets or customers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from quickstudy.averaging.members import Member
from quickstudy.averaging.parts import split
from quickstudy.engine import Engine
from quickstudy.entries import trainable
from quickstudy.episode import Params
from quickstudy.errors import DataError
from quickstudy.inner import Rule
from quickstudy.tasks.base import Source
from quickstudy.tasks.classes import ClassSource


@dataclass(frozen=True, eq=False)
class Episodic(Member):
    """Meta-training of a learner on the tasks of a part: its classes, and no others.

    engine: how meta-gradients are computed. sources: one for each part, of which the split 'train' is used. rule: how φ
    moves; its state begins anew in each round. steps: outer steps of one round, each on `tasks` tasks.
    """

    engine: Engine
    sources: tuple[Source, ...]
    rule: Rule
    steps: int = 10
    tasks: int = 4

    @classmethod
    def by_group(cls, engine: Engine, source: ClassSource, rule: Rule, steps: int = 10, tasks: int = 4) -> Episodic:
        """One part for each group of training classes (alphabet, customer) that is large enough for a task."""
        ids = source.splits["train"]
        groups = source.pool.groups[ids]
        least = source.sampling.ways
        found = [ids[groups == group] for group in sorted(set(groups.tolist()))]
        parts = [replace(source, splits={**source.splits, "train": own}) for own in found if len(own) >= least]
        if not parts:
            raise DataError(f"No group of training classes has the {least} classes of a task. Lower the ways.")
        if len(parts) < 2:
            raise DataError(
                "Only one group of training classes is large enough for a task, so there is nothing to train apart. "
                "Deal the classes out instead: --divide classes --parts 4, or divide='classes'."
            )
        return cls(engine, tuple(parts), rule, steps, tasks)

    @classmethod
    def by_class(
        cls,
        engine: Engine,
        source: ClassSource,
        rule: Rule,
        parts: int,
        steps: int = 10,
        tasks: int = 4,
        seed: int = 0,
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
        return cls(engine, made, rule, steps, tasks)

    @property
    def sizes(self) -> list[int]:
        return [1] * len(self.sources)

    def __call__(self, params: Params, part: int, turn: int) -> Params:
        source = self.sources[part]
        state = self.rule.init(moving := {name: value for name, value in params.items() if trainable(name)})
        for step in range(self.steps):
            first = (turn * self.steps + step) * self.tasks
            episodes = source.episodes("train", torch.arange(first, first + self.tasks))
            grads, _, _ = self.engine.gradients(params, episodes)
            updates, state = self.rule.update(self.rule.init_hyper(moving), grads, state, moving)
            moving = {name: value + updates[name] for name, value in moving.items()}
            params = params | moving
        return params
