"""Whether a learner uses its support set: its loss with a task's own, with none, and with another task's.

A learner that can guess a task from the queries alone may learn to ignore the support set (Yin et al. 2020,
"Meta-learning without memorization"; Rajendran et al. 2020). Its accuracy says nothing of it where the tasks it is
judged on can be guessed as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.engine.distribute import Group
from quickstudy.episode import Episode, Examples, Params, map_episode
from quickstudy.evaluation.estimate import Estimate
from quickstudy.tasks.base import Source

TASKS = 64
"""Tasks that are compared at most."""
_CHUNK = 16  # tasks adapted at once
_SHOWN = ("own", "empty", "other")
_ROWS = (*_SHOWN, "own, on the queries of other", "whether there are any")


@dataclass(frozen=True, kw_only=True)
class SupportUse:
    """Mean query loss of the same `tasks` tasks, by the support set that the learner was shown.

    own: the task's. empty: none, every example masked as padding. other: that of the next task. The last two minus the
    first are paired by task; queries of classes that the next task lacks are left out of that comparison. loss: as the
    learner judges itself, cross-entropy in nats or squared error for most. What could not be measured is None, and
    `missing` says why.
    """

    tasks: int
    own: Estimate | None = None
    empty: Estimate | None = None
    other: Estimate | None = None
    empty_minus_own: Estimate | None = None
    other_minus_own: Estimate | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def ignored(self) -> bool:
        """Whether another task's support set serves as well: the interval of the difference does not lie above 0."""
        gain = self.other_minus_own
        return gain is not None and gain.mean - gain.ci95 <= 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SupportUse:
        names = [name for name in data if name not in ("tasks", "missing")]
        estimates = {name: None if data[name] is None else Estimate(**data[name]) for name in names}
        return cls(tasks=data["tasks"], missing=data.get("missing", {}), **estimates)

    def __str__(self) -> str:
        """What was measured, as a part of a sentence."""
        return (
            f"over {self.tasks} tasks the query loss is {self.own} after a task's own support set and {self.other} "
            f"after another task's (paired difference {self.other_minus_own})"
        )


def support_use(
    engine: Engine, params: Params, source: Source, split: str, episodes: int, group: Group | None = None
) -> SupportUse:
    """Compare the support sets on the first min(`episodes`, 64) tasks of `split`, at least 2, by `learner.judge`.

    It costs as much as evaluating three times as many tasks. group: processes that share the work.
    """
    group, count = group or Group(), min(episodes, TASKS)
    values, failed = torch.zeros((len(_ROWS), count), dtype=torch.float64), ""
    with group.together("the comparison of support sets"):
        for start in range(0, count, _CHUNK)[group.rank :: group.size]:
            stop = min(start + _CHUNK, count)
            drawn = source.episodes(split, torch.arange(start, stop + 1, device=engine.device) % count)
            support, query = map_episode(lambda t: t[:-1], drawn)
            other = map_episode(lambda t: t[1:], drawn).support
            here = slice(start, stop)
            values[0, here] = values[3, here] = _losses(engine, params, support, query)
            shared = query._replace(mask=engine.learner.spec.target.answerable(other, query))
            values[2, here] = _losses(engine, params, other, shared)
            if not torch.equal(shared.mask, query.mask):
                values[3, here] = _losses(engine, params, support, shared)
            values[4, here] = shared.mask.any(1).double().cpu()
            try:
                nothing = support._replace(mask=torch.zeros_like(support.mask))
                values[1, here] = _losses(engine, params, nothing, query)
            except Exception as error:  # no learner need take an empty support set; the reason is handed on
                values[1, here], failed = torch.nan, _reason(error)
    values = group.sum(values, "the comparison of support sets")
    reasons = [reason for reason in group.gather(failed, "the comparison of support sets") if reason]
    return _summary(values, {"empty": reasons[0]} if reasons else {}, _one_task(source, split))


def _one_task(source: Source, split: str) -> bool:
    """Whether all tasks of the split come from one data set, so that another task's support set is as good."""
    return len(source.classes(split)) == 1


def _reason(error: Exception) -> str:
    said = next(iter(str(error).splitlines()), "")
    return f"The learner refuses an empty support set: {type(error).__name__}: {said[:200]}"


def _losses(engine: Engine, params: Params, support: Examples, query: Examples) -> Tensor:
    """The loss of every task's queries (T,) after adapting to `support`, on the CPU."""
    learner = engine.learner.evaluated()

    def judged(task: Episode) -> tuple[Tensor, ...]:
        return (learner.judge(params, learner.adapt(params, task.support), task.query)[0],)

    return engine.map(judged, Episode(support, query))[0].double().cpu()


def _summary(values: Tensor, missing: dict[str, str], alike: bool) -> SupportUse:
    """values: the losses by what was shown, and what belongs to those after another task's support set, (5, T)."""
    rows = dict(zip(_SHOWN, values, strict=False))
    answered = values[4] > 0
    rows["other"], own = rows["other"][answered], values[3][answered]
    if int(answered.sum()) < 2 and "other" not in missing:
        missing["other"] = "Hardly any task shares a class with the next one."
    for name, row in rows.items():
        if name not in missing and not bool(torch.isfinite(row).all()):
            missing[name] = "Some of the losses are not finite numbers."
    if alike and "other" not in missing:
        missing["other"] = "All tasks of the split come from one data set: another task's support set is as good."
    finite = {name: row for name, row in rows.items() if name not in missing}
    estimates = {name: Estimate.of(row) for name, row in finite.items()}
    if "own" in finite:
        beside = {"empty": rows["own"], "other": own}
        estimates |= {f"{n}_minus_own": Estimate.of(finite[n] - row) for n, row in beside.items() if n in finite}
    return SupportUse(tasks=values.shape[1], missing=missing, **estimates)
