"""Past tasks as functions on the whole space: Gaussian processes with one kernel for all tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quickstudy.errors import DataError
from quickstudy.select.warm.experience import Experience, Group
from quickstudy.select.warm.losses import Scale, in_units
from quickstudy.select.warm.process import Data, Kernel, Process, fit_kernel
from quickstudy.space import Array

_FITTED, _OUTPUTS, _STEPS = 150, 40, 30
"""Points and tasks that the kernel is fitted to, and steps."""
LARGEST = 1500
"""Points of a task that are used; of more, a random part with the best of each task, as far as there is room."""


@dataclass(frozen=True)
class Surfaces:
    """A process for each group of tasks that share their points."""

    kernel: Kernel
    processes: tuple[Process, ...]
    groups: tuple[Group, ...]

    @property
    def tasks(self) -> tuple[int, ...]:
        """The task of each output (T,), in the useful tasks."""
        return tuple(task for group in self.groups for task in group.tasks)

    @classmethod
    def of(cls, experience: Experience, scale: Scale, seed: int = 0) -> Surfaces:
        """Losses are in units of their task. Raises DataError without a task that says something."""
        rng = np.random.default_rng(seed)
        groups = tuple(_thinned(group, rng) for group in experience.groups())
        if not groups:
            raise DataError("There is no past task with two different losses. Give some experience.")
        data = [Data(experience.space.encode(g.points), in_units(g.losses, scale)) for g in groups]
        kernel = fit_kernel(_some(data, rng), steps=_STEPS)
        processes = tuple(Process.of(kernel, one) for one in data)
        return cls(kernel, processes, groups)

    def values(self, x: Array) -> Array:
        """What each past task would lose at points x (m, D), in its units: (m, T)."""
        return np.concatenate([process.mean(x) for process in self.processes], axis=1)

    def both(self, x: Array) -> Array:
        """Means and standard deviations of all past tasks, (m, 2 T)."""
        said = [process.predict(x) for process in self.processes]
        spreads = [np.repeat(deviation[:, None], mean.shape[1], axis=1) for mean, deviation in said]
        return np.concatenate([mean for mean, _ in said] + spreads, axis=1)


def _thinned(group: Group, rng: np.random.Generator) -> Group:
    """The group with no more points than a process can take."""
    if len(group.points) <= LARGEST:
        return group
    best = group.losses.argmin(axis=0)
    if len(np.unique(best)) > LARGEST:
        best = rng.permutation(np.unique(best))[:LARGEST]
    drawn = rng.permutation(len(group.points))[: max(LARGEST - len(best), 0)]
    rows = np.unique(np.concatenate([best, drawn]))
    return group._replace(points=tuple(group.points[int(i)] for i in rows), losses=group.losses[rows])


def _some(data: list[Data], rng: np.random.Generator) -> list[Data]:
    """As many points and tasks as a kernel can be fitted to in a moment."""
    count = sum(one.y.shape[1] for one in data)
    kept = np.zeros(count, dtype=bool)
    kept[rng.permutation(count)[:_OUTPUTS]] = True
    chosen, at = [], 0
    for x, y, _ in data:
        columns = kept[at : at + y.shape[1]]
        at += y.shape[1]
        if columns.any():
            rows = rng.permutation(len(x))[:_FITTED]
            chosen.append(Data(x[rows], y[rows][:, columns]))
    return chosen
