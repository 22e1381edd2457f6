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
from quickstudy.tasks.base import Source, held_out

_SCANNED, _CHUNK = 1 << 17, 512  # tasks that are looked through for those of an arm, and at once
_AT_ONCE = 16  # held-out tasks


@dataclass(frozen=True)
class Influence:
    """How the loss of held-out tasks changes by a step on training tasks of one class or domain; below 0 it helps.

    train, held: names of training arms (A,) and held-out ones (B,). change: by both, with intervals over draws of
    training and held-out tasks, each pair by itself; total: over all held-out ones, with intervals that hold for all A
    arms at once. Held-out tasks are the same for all arms. loss: of the tasks of each training arm, and held_loss: of
    each held-out one, before any step, over tasks. All of it is about one φ: another training run may say otherwise.
    """

    train: tuple[str, ...]
    held: tuple[str, ...]
    change: Mapping[str, Mapping[str, Estimate]]
    total: Mapping[str, Estimate]
    loss: Mapping[str, Estimate]
    held_loss: Mapping[str, Estimate]

    @property
    def hurting(self) -> list[str]:
        """Training arms whose steps raise the loss of held-out tasks, over all of them, beyond the interval of `total`:
        where no arm does so, any is named in at most one of forty such studies."""
        return [name for name in self.train if self.total[name].mean - self.total[name].ci95 > 0]


def influence(
    engine: Engine,
    params: Params,
    training: Source,
    held: tuple[Source, str],
    tasks: int = 16,
    draws: int = 8,
    step: float = 0.01,
    most: int = 40,
    on_progress: Callable[[int], None] | None = None,
) -> Influence:
    """One step down the meta-gradient of `tasks` tasks of each training arm, from φ, and what that does to the loss of
    as many tasks of each arm of a held-out split: to first order this is the alignment of the two gradients (TracIn,
    Pruthi et al. 2020), but here losses are measured. Each of `draws` takes a step from φ anew, on other tasks,
    and looks at its own share of the held-out ones, one of each arm at least: intervals are Student's over draws, and
    hence over both, and `Estimate.of_draws` corrects them for the number of training arms.

    engine: of the training tasks. held: the source of the held-out tasks and their split. step: its length, as a share
    of the length of what training moves of φ; the same for all arms. most: of arms on each side; more are drawn from
    at random, by the source's seed. A arms cost A · draws meta-gradients of `tasks` tasks, and with B held-out ones
    (A + 1) · B · tasks evaluations of a task. Raises ConfigError where nothing tells arms
    apart, and where a class of the held-out split was trained on.
    """
    if tasks < 2 or draws < 2:
        raise ConfigError(f"An interval takes at least 2 tasks and 2 draws, found {tasks} and {draws}.")
    source, split = held
    if not held_out(source, split):
        raise ConfigError(
            f"The {split} tasks are of training classes: nothing is held out that a step could help. Train with "
            "classes held out (most sources: --tasks.val 0.2), or look at another split with classes of its own."
        )
    mine = _arms(training, "train", draws, tasks, most)
    theirs = _arms(source, split, draws, -(-tasks // draws), most)
    shape = (len(theirs), -1)
    judging = engine.learner if source.spec == training.spec else engine.learner.at(source.spec)

    def losses(phi: Params, draw: int) -> Tensor:
        """The loss of the queries of each held-out task of a draw, by its arm (B, n), after adapting; on the CPU."""

        def judged(task: Episode) -> tuple[Tensor, ...]:
            return (judging.judge(phi, judging.adapt(phi, task.support), task.query)[0],)

        parts = torch.cat([at[draw] for at in theirs.values()]).split(_AT_ONCE)  # type: ignore[no-untyped-call]
        found = [engine.map(judged, source.episodes(split, part))[0] for part in parts]
        return torch.cat(found).double().cpu().view(shape)

    before = [losses(params, draw) for draw in range(draws)]
    moving = {name: value for name, value in params.items() if engine.learner.moves(name)}
    length = step * torch.stack([value.square().sum() for value in moving.values()]).sum().sqrt()
    loss: dict[str, Estimate] = {}
    change: dict[str, dict[str, Estimate]] = {}
    total: dict[str, Estimate] = {}
    for number, (name, drawn) in enumerate(mine.items()):
        own, after = [], []
        for draw, at in enumerate(drawn):
            grads, losing, _ = engine.gradients(params, training.episodes("train", at), at.to(engine.device))
            size = torch.nn.utils.get_total_norm(grads.values())
            moved = params | {n: params[n] - length * grads[n] / size.clamp(min=1e-30) for n in grads}
            own.append(losing.detach().cpu())
            after.append((losses(moved, draw) - before[draw]).mean(1))
        changes = torch.stack(after)  # (draws, B)
        change[name] = {other: Estimate.of_draws(changes[:, i]) for i, other in enumerate(theirs)}
        total[name] = Estimate.of_draws(changes.mean(1), len(mine))
        loss[name] = Estimate.of(torch.cat(own))
        if on_progress is not None:
            on_progress(number + 1)
    held_loss = {name: Estimate.of(values) for name, values in zip(theirs, torch.cat(before, 1), strict=True)}
    return Influence(tuple(mine), tuple(theirs), change, total, loss, held_loss)


def _arms(source: Source, split: str, draws: int, tasks: int, most: int) -> dict[str, Tensor]:
    """The first tasks of each arm of a split (draws, tasks), by its name: all of whose classes are of it, or where
    these are too few, some."""
    names = source.arms(split)
    if not names:
        raise ConfigError(f"Nothing tells which classes or domains the {split} tasks are of, so none can be compared.")
    source.check(split)
    chosen = sorted(rng.permutation(rng.key(source.seed, "arms", split), len(names))[:most].tolist())
    of = torch.cat([source.arms_of(split, part).cpu() for part in torch.arange(_SCANNED).split(_CHUNK)])  # type: ignore[no-untyped-call]
    found: dict[str, Tensor] = {}
    for arm in chosen:
        alone, among = ((of == arm).all(1)), ((of == arm).any(1))
        count = draws * tasks
        places = (alone if int(alone.sum()) >= count else among).nonzero().flatten()[:count]
        if len(places) == count:
            found[names[arm]] = places.view(draws, tasks)
    if not found:
        raise DataError(
            f"No class or domain of {split} has {draws * tasks} tasks among the first {_SCANNED}. Take fewer, or fewer "
            "draws."
        )
    return found
