"""Learners over embedded examples: nearest prototype, attention, ridge regression, logistic regression."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.episode import Examples, Params, State
from quickstudy.errors import ConfigError
from quickstudy.masked import class_means, class_sums
from quickstudy.spec import TaskSpec
from quickstudy.systems import inverted, solve
from quickstudy.tally import Tally

Distance = Literal["euclidean", "cosine"]
_PADDING = -1e9  # score of an example that is none: finite, so that its gradient is 0 and not NaN


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ConfigError(f"The {name} must be positive and finite, found {value}.")


class Head(ABC):
    """A closed-form learner over embeddings z (n, D): `fit` sees the support set, `logits` answers for queries."""

    def init(self, spec: TaskSpec) -> Params:
        """The head's own meta-parameters (scalars) for tasks of `spec`; empty if it has none."""
        return {}

    def check(self, spec: TaskSpec) -> None:
        """ConfigError for tasks that the head cannot do; most of them tell classes apart."""
        spec.target.require_classes(
            type(self).__name__, "Use the learner 'r2d2', or a gradient learner such as 'maml'."
        )

    def comparable(self, z: Tensor) -> Tensor:
        """Embeddings (n, D) in the form in which the head compares them, so that they may be averaged."""
        return z

    @abstractmethod
    def fit(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> State:
        """ψ from embedded support z (n, D), its labels and its mask."""

    @abstractmethod
    def logits(self, params: Params, state: State, z: Tensor, spec: TaskSpec) -> Tensor:
        """Predictions (m, *prediction_shape) for embedded queries z (m, D)."""

    def tally(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> Tally | None:
        """What `settled` makes ψ of, and can be added to; None where ψ does not follow from it. By default each row."""
        there = support.mask
        return Tally(rows={"z": z[there], "y": support.y[there]})

    def settled(self, params: Params, tally: Tally, spec: TaskSpec) -> State:
        """ψ of what `tally` gave: what `fit` makes of all these examples."""
        z, y = tally.rows["z"], tally.rows["y"]
        return self.fit(params, z, Examples(z, y, torch.ones(len(y), dtype=torch.bool, device=y.device)), spec)


@contextmanager
def full_precision(z: Tensor) -> Iterator[Tensor]:
    """z in float32 at least, with autocast off: distances and linear systems lose too much in less."""
    with torch.autocast(z.device.type, enabled=False):
        yield z if z.dtype == torch.float64 else z.float()


def few_examples(z: Tensor) -> bool:
    """Whether z (n, D) has no more examples than features, so that a system of n equations is the smaller one; so it is
    taken to be in a graph that is exported for any n."""
    return torch.compiler.is_exporting() or z.shape[0] <= z.shape[1]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """‖a_i − b_j‖², (n, m), for a (n, D) and b (m, D)."""
    return a.square().sum(1)[:, None] - 2 * (a @ b.T) + b.square().sum(1)[None]


@dataclass(frozen=True)
class Prototypes(Head):
    """Logits fall with the distance to the mean of each class (Snell, Swersky & Zemel 2017).

    distance: squared euclidean (the paper's), or cosine. temperature: the logits' initial scale, meta-learned if
    `learn_temperature` (needed for cosine, whose values are bounded). raw_means: for cosine, classes are means of the
    embeddings as they are (Chen et al. 2021), not of their directions.
    """

    distance: Distance = "euclidean"
    temperature: float = 1.0
    learn_temperature: bool = False
    raw_means: bool = False

    def __post_init__(self) -> None:
        _check_positive("temperature", self.temperature)

    def init(self, spec: TaskSpec) -> Params:
        return {"log_scale": torch.tensor(math.log(self.temperature))} if self.learn_temperature else {}

    def comparable(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=1) if self.distance == "cosine" and not self.raw_means else z

    def fit(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> State:
        means, present = class_means(self.comparable(z), support, spec.ways)
        return {"prototypes": means, "present": present}

    def tally(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> Tally | None:
        sums, counts = class_sums(self.comparable(z), support, spec.ways)
        return Tally(each={"sums": sums, "counts": counts})

    def settled(self, params: Params, tally: Tally, spec: TaskSpec) -> State:
        counts = tally.each["counts"]
        return {"prototypes": tally.each["sums"] / counts.clamp(min=1)[:, None], "present": counts > 0}

    def logits(self, params: Params, state: State, z: Tensor, spec: TaskSpec) -> Tensor:
        if self.distance == "cosine":
            near = F.normalize(z, dim=1) @ F.normalize(state["prototypes"], dim=1).T
        else:
            near = -squared_distances(z, state["prototypes"])
        scale = params["log_scale"].exp() if self.learn_temperature else self.temperature
        return spec.target.among(near * scale, state)


@dataclass(frozen=True)
class Attention(Head):
    """Attention over the support: the probability of a class is the attention its examples get (Vinyals et al. 2016).

    Cosine similarity, scaled by `temperature`. The paper's full-context embeddings, which read the whole support set
    with an LSTM, are left out: they depend on the order of the examples.
    """

    temperature: float = 10.0

    def __post_init__(self) -> None:
        _check_positive("temperature", self.temperature)

    def fit(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> State:
        return {"keys": F.normalize(z, dim=1), "values": spec.target.coded(support, z.dtype), "mask": support.mask}

    def logits(self, params: Params, state: State, z: Tensor, spec: TaskSpec) -> Tensor:
        scores = self.temperature * F.normalize(z, dim=1) @ state["keys"].T
        weights = torch.where(state["mask"], scores, _PADDING).softmax(dim=1)
        return (weights @ state["values"]).clamp(min=torch.finfo(z.dtype).tiny).log()


@dataclass(frozen=True)
class Ridge(Head):
    """Ridge regression from embeddings to one-hot labels or targets, in closed form (R2-D2, Bertinetto et al. 2019).

    W = Zᵀ(ZZᵀ + λI)⁻¹Y, an n × n system, or (ZᵀZ + λI)⁻¹ZᵀY where there are more examples than features. λ
    (`regularisation`) and what turns least-squares values into predictions, the scale and offset of logits, are
    meta-learned.
    """

    regularisation: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("regularisation", self.regularisation)

    def init(self, spec: TaskSpec) -> Params:
        return {"log_regularisation": torch.tensor(math.log(self.regularisation))} | spec.target.readout()

    def check(self, spec: TaskSpec) -> None:
        return None

    def fit(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> State:
        targets = spec.target.coded(support, z.dtype)
        z = torch.cat([z, torch.ones_like(z[:, :1])], dim=1) * support.mask[:, None]
        weight, few = params["log_regularisation"].exp(), few_examples(z)
        gram = z @ z.T if few else z.T @ z
        gram = gram + weight * torch.eye(gram.shape[0], dtype=z.dtype, device=z.device)
        weights = z.T @ solve(gram, targets) if few else solve(gram, z.T @ targets)
        return {"weights": weights} | spec.target.seen(support)

    def tally(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> Tally | None:
        """The normal equations: ZᵀZ of all, and YᵀZ, of which each class has a row."""
        targets = spec.target.coded(support, z.dtype)
        z = torch.cat([z, torch.ones_like(z[:, :1])], dim=1) * support.mask[:, None]
        moments, gram = targets.T @ z, z.T @ z
        if not spec.target.relabels:
            return Tally(every={"gram": gram, "moments": moments})
        return Tally(each={"moments": moments, "counts": targets.sum(0)}, every={"gram": gram})

    def settled(self, params: Params, tally: Tally, spec: TaskSpec) -> State:
        gram, moments = tally.every["gram"], (tally.each | tally.every)["moments"]
        weight = params["log_regularisation"].exp() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        state = {"weights": solve(gram + weight, moments.T)}
        if (counts := tally.counts) is None:
            return state
        one_of_each = torch.arange(len(counts), device=counts.device)
        return state | spec.target.seen(Examples(moments, one_of_each, counts > 0))

    def logits(self, params: Params, state: State, z: Tensor, spec: TaskSpec) -> Tensor:
        values = z @ state["weights"][:-1] + state["weights"][-1]
        return spec.target.among(spec.target.read(values, params), state)


@dataclass(frozen=True)
class Logistic(Head):
    """Logistic regression at its minimum: Σ_i ℓ(W z_i + b, y_i) + λ/2 ‖W‖² over the support set, ℓ the cross-entropy.

    For embeddings of about length 1. regularisation: λ; b is free. The minimum is unique and found by majorisation: the
    Hessian of ℓ in the logits is at most ½ (Böhning & Lindsay 1988), so each iteration is a ridge regression, whose
    matrix, n × n or D × D, whichever is smaller, is the same in all of them, with Nesterov's momentum, begun anew where
    it points uphill.
    """

    regularisation: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("regularisation", self.regularisation)

    @property
    def iterations(self) -> int:
        """How many there are: for a relative error of 1e-6, which is as good as float32 allows."""
        return min(math.ceil(60 * max(1.0, 1 / math.sqrt(self.regularisation))), 5000)

    def fit(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> State:
        """'weights': (D + 1, N), the last row b."""
        mask, coded = support.mask[:, None].to(z.dtype), spec.target.coded(support, z.dtype)
        count = mask.sum().clamp(min=1)
        mean = (z * mask).sum(0) / count
        centred = (z - mean) * mask
        few = few_examples(z)
        gram = centred @ centred.T if few else centred.T @ centred
        inverse = inverted(gram + 2 * self.regularisation * torch.eye(gram.shape[0], dtype=z.dtype, device=z.device))
        smooth = gram @ inverse if few else centred

        def regressed(aim: Tensor) -> Tensor:
            """The weights of the ridge regression that is to meet this."""
            found: Tensor = centred.T @ (inverse @ aim) if few else inverse @ (centred.T @ aim)
            return found

        def aimed(logits: Tensor) -> tuple[Tensor, Tensor]:
            """What the next ridge regression is to meet, less its mean, and that."""
            aim = (logits - 2 * (logits.softmax(1) - coded)) * mask
            middle = aim.sum(0) / count
            return (aim - middle) * mask, middle

        before = ahead = torch.zeros_like(coded)
        age = torch.ones((), dtype=z.dtype, device=z.device)
        for _ in range(self.iterations):
            aim, middle = aimed(ahead)
            logits = (smooth @ aim if few else smooth @ regressed(aim)) + middle
            uphill = ((ahead - logits) * (logits - before) * mask).sum() > 0
            older = torch.where(uphill, 1.0, (1 + (1 + 4 * age.square()).sqrt()) / 2)
            ahead = logits + torch.where(uphill, 0.0, (age - 1) / older) * (logits - before)
            before, age = logits, older
        aim, middle = aimed(before)
        weights = regressed(aim)
        return {"weights": torch.cat([weights, (middle - mean @ weights)[None]])} | spec.target.seen(support)

    def logits(self, params: Params, state: State, z: Tensor, spec: TaskSpec) -> Tensor:
        return spec.target.among(z @ state["weights"][:-1] + state["weights"][-1], state)
