"""What is believed of a task that is learned inside a graph: the same as `TaskTrust`, for any number of examples.

What `trust.evidence` chooses by indices is weighted here by masks, and both of its kinds are computed, of tasks with
one example of each class and of others, of which the graph takes one.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

from quickstudy.episode import Examples, Params, leaves
from quickstudy.learners import Learner
from quickstudy.masked import masked_mean, one_hot
from quickstudy.trust.base import Calibration, Trust
from quickstudy.trust.estimate import Estimator
from quickstudy.trust.evidence import LEFT_OUT, Evidence, LeftOut, left_out
from quickstudy.trust.familiar import familiar, products
from quickstudy.trust.task import TaskTrust

RATES = (0.01, 0.05, 0.1)
"""Of false alarms, at which it is told what is known."""
LEVEL = 0.9
"""Of the interval of an estimate."""


def rates(trust: Trust) -> tuple[float, ...]:
    """Those of `RATES` that all kinds of tasks can promise."""
    kinds = [part.alarms for part in (trust.single, trust.several) if part is not None and part.alarms is not None]
    return tuple(r for r in RATES if kinds and all(at.levels and at.levels[0] <= r <= at.levels[-1] for at in kinds))


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
            proof = _evidence(left, support, kind)
            found[kind] = _judged(TaskTrust(trust, proof, kept), at, logits, near, rates(trust))
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


def _judged(
    task: TaskTrust, at: Calibration, logits: Tensor, near: Tensor, asked: tuple[float, ...]
) -> dict[str, Tensor]:
    judged = task.judged(logits, near)
    features = task.evidence.features
    said = {"probabilities": judged.logits.softmax(1), "estimate": _estimate(at.estimator, features, task)}
    if judged.known is not None and at.alarms is not None:
        least = [at.alarms.at(rate, features).sigmoid() for rate in asked]
        said |= {"known": judged.known} | ({"known_least": torch.stack(least)} if least else {})
    return said


def _evidence(left: LeftOut, support: Examples, several: bool) -> Evidence:
    """`evidence` of one kind, whichever the task is of."""
    features = [left.ways.log(), left.shots.log(), left.margin, left.nearest]
    strange = left.strange.mean(0)
    if not several:
        return Evidence(torch.stack([*features, *left.expected]), torch.full_like(strange, torch.nan), strange, False)
    told, y = left.told, support.y[:, None]
    logs = left.logits.log_softmax(1)
    own = logs.gather(1, y)[:, 0].clamp(min=-20)
    others = torch.where(one_hot(support.y, left.logits.shape[1]), -torch.inf, left.logits).amax(1)
    margin = (left.logits.gather(1, y)[:, 0] - others).clamp(-50, 50)
    right = ((margin > 0) & told).double()
    smoothed = (right.sum() + 0.5) / (told.sum() + 1)
    features += [
        smoothed.sqrt().asin(), masked_mean(own, told), masked_mean(own.exp(), told),
        masked_mean(logs.amax(1).exp(), told), masked_mean(margin, told), _quantile(margin, told, 0.1), left.spread,
        *left.expected,
    ]  # fmt: skip
    known = torch.where(told[:, None], left.known, 0.0).sum(0) / told.sum().clamp(min=1)
    return Evidence(torch.stack(features), known, strange, True)


def _quantile(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """The quantile of those of `values` (n,) that count, on the line between two as `torch.quantile` has it."""
    ordered = torch.where(mask, values, torch.inf).sort().values
    place = share * (mask.sum() - 1).clamp(min=0).double()
    below = place.floor()
    low, high = below.long(), place.ceil().long()
    first, second = ordered[low[None]][0], ordered[high[None]][0]
    return first + (place - below) * torch.where(high > low, second - first, 0.0)


def _estimate(by: Estimator, features: Tensor, task: TaskTrust) -> Tensor:
    """(3,): what `TaskTrust.estimate` says at `LEVEL`: mean, low and high."""
    below, above = by.reach(LEVEL)
    angle, spread = by.mean(features), by.spread(features).exp()
    ends = torch.stack([angle, angle - below * spread, angle + above * spread])
    said = _share(ends)
    if not task.evidence.several:
        return said
    seen, count = features[LEFT_OUT], (features[0] + features[1]).exp()
    far = by.mean.centre[LEFT_OUT] - by.mean.far * by.mean.scale[LEFT_OUT]
    worse = seen + NormalDist().inv_cdf(0.99) / (2 * count.sqrt()) < said[1].sqrt().asin()
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * (1 / (4 * count) + 1 / (4 * by.queries)).sqrt()
    middle = torch.maximum(seen, (-features[0] / 2).exp().asin())
    alone = _share(torch.stack([middle, seen - half, middle + half]))
    return torch.where((seen < far) & worse, alone, said)


def _share(angle: Tensor) -> Tensor:
    return angle.clamp(0, math.pi / 2).sin().square()
