"""Which training classes or domains help which held-out ones: a step on tasks of one, and the losses of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.engine import Engine
from quickstudy.episode import Episode, Params
from quickstudy.errors import ConfigError, DataError
from quickstudy.evaluation.estimate import Estimate
from quickstudy.learners import Learner
from quickstudy.tasks.base import Source

_SCANNED, _CHUNK = 1 << 14, 512  # tasks that are looked through for those of an arm, and at once


@dataclass(frozen=True)
class Influence:
    """How the loss of held-out tasks changes by a step on training tasks of one class or domain; below 0 it helps.

    train, held: names of training arms (A,) and held-out ones (B,). change: by both, over held-out tasks, which are the
    same for all arms; total: over all of them. loss: of the tasks of each training arm, and held_loss: of each held-out
    one, before any step.
    """

    train: tuple[str, ...]
    held: tuple[str, ...]
    change: Mapping[str, Mapping[str, Estimate]]
    total: Mapping[str, Estimate]
    loss: Mapping[str, Estimate]
    held_loss: Mapping[str, Estimate]

    @property
    def hurting(self) -> list[str]:
        """Training arms whose steps raise the loss of held-out tasks, over all of them, beyond the 95 % interval."""
        return [name for name in self.train if self.total[name].mean - self.total[name].ci95 > 0]


def influence(
    engine: Engine,
    params: Params,
    training: Source,
    held: tuple[Source, str],
    tasks: int = 16,
    step: float = 0.01,
    most: int = 40,
    on_progress: Callable[[int], None] | None = None,
) -> Influence:
    """One step down the meta-gradient of `tasks` tasks of each training arm, from φ, and what that does to the loss of
    as many tasks of each arm of a held-out split: to first order this is the alignment of the two gradients (TracIn,
    Pruthi et al. 2020), but here losses are measured.

    engine: of the training tasks. held: the source of the held-out tasks and their split. step: its length, as a share
    of the length of what training moves of φ; the same for all arms. most: of arms on each side; more are drawn from
    at random, by the source's seed. Raises ConfigError where nothing tells arms apart.
    """
    if tasks < 2:
        raise ConfigError(f"tasks must be at least 2 for an interval, found {tasks}.")
    source, split = held
    mine = _arms(training, "train", tasks, most)
    theirs = _arms(source, split, tasks, most)
    judging = engine.learner if source.spec == training.spec else engine.learner.at(source.spec)
    before = {name: _losses(engine, judging, params, source.episodes(split, at)) for name, at in theirs.items()}
    loss: dict[str, Estimate] = {}
    moving = {name: value for name, value in params.items() if engine.learner.moves(name)}
    length = step * torch.stack([value.square().sum() for value in moving.values()]).sum().sqrt()
    change: dict[str, dict[str, Estimate]] = {}
    total: dict[str, Estimate] = {}
    for number, (name, at) in enumerate(mine.items()):
        grads, own, _ = engine.gradients(params, training.episodes("train", at), at.to(engine.device))
        size = torch.nn.utils.get_total_norm(grads.values())
        moved = params | {n: params[n] - length * grads[n] / size.clamp(min=1e-30) for n in grads}
        after = {
            other: _losses(engine, judging, moved, source.episodes(split, where)) - before[other]
            for other, where in theirs.items()
        }
        change[name] = {other: Estimate.of(value) for other, value in after.items()}
        total[name] = Estimate.of(torch.cat(list(after.values())))
        loss[name] = Estimate.of(own.detach().cpu())
        if on_progress is not None:
            on_progress(number + 1)
    held_loss = {name: Estimate.of(value) for name, value in before.items()}
    return Influence(tuple(mine), tuple(theirs), change, total, loss, held_loss)


def _arms(source: Source, split: str, tasks: int, most: int) -> dict[str, Tensor]:
    """The first `tasks` tasks of each arm of a split, by its name: all of whose classes are of it, or where there are
    none, some."""
    names = source.arms(split)
    if not names:
        raise ConfigError(f"Nothing tells which classes or domains the {split} tasks are of, so none can be compared.")
    source.check(split)
    chosen = sorted(rng.permutation(rng.key(source.seed, "arms", split), len(names))[:most].tolist())
    of = torch.cat([source.arms_of(split, part).cpu() for part in torch.arange(_SCANNED).split(_CHUNK)])  # type: ignore[no-untyped-call]
    found: dict[str, Tensor] = {}
    for arm in chosen:
        alone, among = ((of == arm).all(1)), ((of == arm).any(1))
        places = (alone if int(alone.sum()) >= tasks else among).nonzero().flatten()[:tasks]
        if len(places) == tasks:
            found[names[arm]] = places
    if not found:
        raise DataError(f"No class or domain of {split} has {tasks} tasks among the first {_SCANNED}. Take fewer.")
    return found


def _losses(engine: Engine, learner: Learner, params: Params, episodes: Episode) -> Tensor:
    """The loss of every task's queries (T,) after adapting, on the CPU."""

    def judged(task: Episode) -> tuple[Tensor, ...]:
        return (learner.judge(params, learner.adapt(params, task.support), task.query)[0],)

    return engine.map(judged, episodes)[0].double().cpu()
