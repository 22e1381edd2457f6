"""Which training tasks are learned from: those of classes, or domains, that taught most so far come more often."""

from __future__ import annotations

from typing import Literal, TypedDict

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.tasks.base import Source, held_out

Choose = Literal["uniform", "loss", "alignment", "exp3"]
"""By what: nothing; the loss of a task; or the alignment of the gradient of a step, over all of its tasks, with that of
validation tasks, by moving averages or by a bandit."""
_REMEMBERS = 0.9  # of a moving average, at each task of a class
_EXPLORES = 0.2  # the share of choices that are uniform
_RATE, _FORGETS = 0.1, 0.995  # of the bandit, whose rewards change as φ does
_COUNTED = 1 << 14  # tasks of the source, of which it is counted how often an arm comes


class ChoiceStored(TypedDict):
    """`Choice` as JSON: a number for each arm."""

    score: list[float]
    seen: list[int]


class Choice:
    """Probabilities of the arms of a source, and how they follow what was learned from each.

    Of `candidates` tasks that the source draws for each place in a step, one is taken by the mean probability of its
    arms, so that tasks stay what the source makes of their indices. 'loss' and 'alignment' take the softmax of the
    moving average of what an arm's tasks had, in units of its spread over arms; 'exp3' is the bandit of Auer et al.
    (2002), with rewards in [0, 1] that are divided by how probable it was that a task of the arm was taken. All of them
    explore: a share of the choices is uniform.

    That probability is not the arm's own, since candidates may have none of it. With C for the candidates, a reward of
    arm a is divided by P(a taken | C) P(a in C), so that it has no bias, as EXP3 asks: E 1{a taken} / P(a taken | C) is
    E 1{a in C} = P(a in C). The first factor is exact; the second is 1 − (1 − f)ⁿ for n candidates, where f is the
    share of the source's tasks that are of a, counted once. EXP3's bound of the regret does not carry over.

    score: (A,) float64 of each arm. seen: (A,) int64, how many tasks of it were learned from.
    """

    def __init__(self, source: Source, how: Choose, candidates: int, seed: int) -> None:
        arms = source.arms("train") if how != "uniform" else []
        if how != "uniform" and len(arms) < 2:
            raise ConfigError(
                f"choose={how!r} needs training tasks of several classes or domains that are known by name, and these "
                "tasks are not. Leave it out."
            )
        self.source, self.how, self.candidates, self.arms = source, how, candidates, arms
        if self.aligned and not held_out(source):
            raise ConfigError(
                f"choose={how!r} follows gradients of validation tasks, and these are of training classes: nothing is "
                "held out. Hold classes out (most sources: --tasks.val 0.2), or take choose='loss'."
            )
        if candidates < 2:
            raise ConfigError(f"There must be 2 candidates or more to choose from, found {candidates}.")
        self.key = rng.key(seed, "choice")
        self.score = torch.zeros(len(arms), dtype=torch.float64)
        self.seen = torch.zeros(len(arms), dtype=torch.int64)
        if how == "exp3":
            of = source.arms_of("train", torch.arange(_COUNTED)).cpu().sort(1).values
            first = torch.cat([torch.ones(_COUNTED, 1, dtype=torch.bool), of[:, 1:] != of[:, :-1]], 1)
            share = (of[first].bincount(minlength=len(arms)).double() + 1) / (_COUNTED + 1)  # never 0
            self.offered = 1 - (1 - share) ** candidates  # (A,), P(a in C)

    @property
    def aligned(self) -> bool:
        """Whether the gradient of validation tasks is needed."""
        return self.how in ("alignment", "exp3")

    @property
    def probabilities(self) -> Tensor:
        """Of the arms, (A,); they sum to 1."""
        if self.how == "exp3":
            preferred = (_RATE * self.score).softmax(0)
        else:
            known = self.seen > 0
            spread = self.score[known].std(correction=0) if int(known.sum()) > 1 else torch.zeros(())
            middle = self.score[known].mean() if bool(known.any()) else 0.0
            apart = (self.score - middle) / spread if float(spread) > 0 else torch.zeros_like(self.score)
            preferred = torch.where(known, apart, 0.0).softmax(0)
        return (1 - _EXPLORES) * preferred + _EXPLORES / len(self.arms)

    def indices(self, step: int, count: int) -> Tensor:
        """The training tasks of a step (count,), on the CPU."""
        if self.how == "uniform":
            return torch.arange(step * count, (step + 1) * count)
        drawn, _, chances = self._candidates(torch.arange(count) + step * count)
        at = rng.uniform(rng.fold(self.key, drawn[:, 0])).double()[:, None]
        place = torch.searchsorted(chances.cumsum(1), at).clamp(max=self.candidates - 1)
        return drawn.gather(1, place)[:, 0]

    def _candidates(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of places (T,), counted over all steps: the candidates (T, n), their arms (T, n, M) and how probable it is
        that each is taken (T, n)."""
        drawn = places[:, None] * self.candidates + torch.arange(self.candidates)
        of = self.source.arms_of("train", drawn.flatten()).cpu().view(*drawn.shape, -1)
        weight = self.probabilities[of].mean(-1)
        return drawn, of, weight / weight.sum(1, keepdim=True)

    def learned(self, indices: Tensor, loss: Tensor, alignment: Tensor | None) -> None:
        """What the tasks of a step (T,) had: their losses (T,), or the cosine of their common gradient with that of
        validation, (), which counts for the arms of all of them."""
        if self.how == "uniform":
            return
        own = loss.detach().cpu().double() if alignment is None else alignment.cpu().double().expand(len(indices))
        _, of, chances = self._candidates(indices.cpu() // self.candidates)
        for seen, chance, taken, reward in zip(of, chances, indices.cpu() % self.candidates, own, strict=True):
            arms = seen[taken].unique()
            if self.how == "exp3":
                among = (seen[..., None] == arms).any(1).double()  # which candidates are of which arms
                chance = chance @ among * self.offered[arms]
                self.score *= _FORGETS
                self.score[arms] += (1 + reward) / 2 / (chance * len(self.arms))
            else:
                first = self.seen[arms] == 0
                moved = _REMEMBERS * self.score[arms] + (1 - _REMEMBERS) * reward
                self.score[arms] = torch.where(first, reward, moved)
            self.seen[arms] += 1

    def stored(self) -> ChoiceStored:
        """As plain data."""
        return {"score": self.score.tolist(), "seen": self.seen.tolist()}

    def restore(self, stored: ChoiceStored) -> None:
        """Go on from what was stored."""
        self.score = torch.tensor(stored["score"], dtype=torch.float64)
        self.seen = torch.tensor(stored["seen"], dtype=torch.int64)


def alignment(one: Params, other: Params) -> Tensor:
    """The cosine between two gradients in float64, (): 0 where one of them is 0."""
    products = [
        [(a[name].double() * b[name].double()).sum() for name in one]
        for a, b in ((one, other), (one, one), (other, other))
    ]
    dot, first, second = (torch.stack(some).sum() for some in products)
    size = (first * second).sqrt()
    return torch.where(size > 0, dot / size.clamp(min=torch.finfo(size.dtype).tiny), 0.0)
