"""What is believed of a task that is learned inside a graph: the same as `TaskTrust`, for any number of examples.

Both kinds of tasks are computed, those with one example of each class and others, of which the graph takes one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.episode import Examples, Params, leaves
from quickstudy.learners import Learner
from quickstudy.trust.base import Trust
from quickstudy.trust.estimate import alone
from quickstudy.trust.evidence import LEFT_OUT, evidence, left_out
from quickstudy.trust.familiar import familiar, products
from quickstudy.trust.task import TaskTrust

LEVEL = 0.9
"""Of the interval of an estimate."""


def believed(
    trust: Trust, learner: Learner, params: Params, support: Examples, logits: Tensor, z: Tensor
) -> dict[str, Tensor]:
    """'probabilities', 'trusted', 'known', 'known_least' and 'estimate' of queries z (n, D) with logits (n, N).

    learner: after embedding, at the task's spec, and support.x are embeddings.
    """
    left = left_out(learner, params, support, trust.folds, trust.strangers, trust.space)
    kept = support._replace(x=leaves(learner.compared(params, support.x))[0])
    asked = leaves(learner.compared(params, z))[0]
    near = familiar(logits, kept, products(kept, asked, trust.space))
    found: dict[bool, dict[str, Tensor]] = {}
    for kind, at in ((False, trust.single), (True, trust.several)):
        if at is not None:
            found[kind] = _judged(TaskTrust(trust, evidence(left, support, several=kind), kept), logits, near)
    several = left.told.any()
    if len(found) == 2:
        shared = found[True].keys() & found[False].keys()
        both = {name: torch.where(several, found[True][name], found[False][name]) for name in shared}
        return both | {"trusted": torch.ones_like(several)[None]}
    kind, said = next(iter(found.items()))
    there = several if kind else ~several
    return said | {
        "probabilities": torch.where(there, said["probabilities"], logits.softmax(1)),
        "trusted": there[None],
    }


def _judged(task: TaskTrust, logits: Tensor, near: Tensor) -> dict[str, Tensor]:
    judged, at = task.judged(logits, near), task.calibration
    said = {"probabilities": judged.logits.softmax(1), "estimate": _estimate(task)}
    if judged.known is not None and at.alarms is not None:
        least = [at.alarms.at(rate, task.evidence.features).sigmoid() for rate in task.trust.rates]
        said |= {"known": judged.known} | ({"known_least": torch.stack(least)} if least else {})
    return said


def _estimate(task: TaskTrust) -> Tensor:
    """(3,): what `TaskTrust.estimate` says at `LEVEL`: mean, low and high."""
    by, features = task.calibration.estimator, task.evidence.features
    said = by.shares(features, LEVEL, by.queries)
    if not task.evidence.several:
        return said
    contradicted, instead = alone(said[1], by.mean, LEFT_OUT, features, LEVEL, by.queries)
    return torch.where(contradicted, instead, said)
