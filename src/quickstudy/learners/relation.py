"""Relation networks: a second network says how alike a query and a class are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.episode import Examples, Features, Params, State
from quickstudy.errors import ModelError
from quickstudy.heads import full_precision
from quickstudy.hints import Size
from quickstudy.learners.base import Learner
from quickstudy.learners.chance import QUERIES, apart
from quickstudy.learners.network import Network, Norm
from quickstudy.learners.probe import probe
from quickstudy.masked import class_means, class_sums, masked_mean
from quickstudy.models import second
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally

Pool = Literal["mean", "sum"]
Loss = Literal["squared-error", "cross-entropy"]


@dataclass(frozen=True, kw_only=True)
class RelationLearner(Learner):
    """φ are an encoder f and a relation module g; ψ is one embedding for each class.

    relation: g, which maps pairs of embeddings, joined along their first axis, to one score each. pool: how a class's
    embeddings become one. trained_by: the loss. Scores are r = σ(g) and logits log r, whose softmax is their share;
    with 'cross-entropy' logits are g itself.
    """

    relation: Network
    pool: Pool = "mean"
    trained_by: Loss = "squared-error"

    def init(self, generator: torch.Generator) -> Params:
        self.spec.target.require_classes("A relation network", "Use the learner 'r2d2', or 'maml'.")
        return self.network.init(generator) | self.relation.init(generator)

    def adapt(self, params: Params, support: Examples) -> State:
        z = self.network(params, support.x)
        means, present = class_means(z.flatten(1), support, self.spec.ways)
        if self.pool == "sum":
            means = means * self.spec.target.coded(support, z.dtype).sum(0)[:, None]
        return {"prototypes": means.reshape(-1, *z.shape[1:]), "present": present}

    def tally(self, params: Params, support: Examples) -> Tally | None:
        if self.transductive:  # features would be others in another batch
            return None
        z = self.network(params, support.x)
        sums, counts = class_sums(z.flatten(1), support, self.spec.ways)
        return Tally(each={"sums": sums.reshape(-1, *z.shape[1:]), "counts": counts})

    def settled(self, params: Params, tally: Tally) -> State:
        sums, counts = tally.each["sums"], tally.each["counts"]
        divided = counts.clamp(min=1) if self.pool == "mean" else torch.ones_like(counts)
        return {"prototypes": sums / divided.reshape(-1, *[1] * (sums.dim() - 1)), "present": counts > 0}

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        z, classes = self.network(params, x), state["prototypes"]
        n, ways = z.shape[0], classes.shape[0]  # `len` would fix the number of queries in an export
        pairs = torch.cat([classes.expand(n, *classes.shape), z[:, None].expand(n, ways, *z.shape[1:])], dim=2)
        with full_precision(self.relation(params, pairs.flatten(0, 1))) as scores:
            scores = scores.reshape(n, ways)
            return self.spec.target.among(F.logsigmoid(scores) if self.trained_by == "squared-error" else scores, state)

    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        """With 'squared-error' the loss is the mean of (r − 1)² for a query's own class and of r² for the others."""
        if self.trained_by == "cross-entropy":
            return super().judge(params, state, query)
        with apart(QUERIES):
            logits = self.predict(params, state, query.x)
        away = (logits.exp() - self.spec.target.coded(query, logits.dtype)).square()
        loss = masked_mean(away.sum(1) / state["present"].sum().clamp(min=1), query.mask)
        return loss, self.spec.target.score(logits, query)


@learners.register("relationnet")
def relationnet(
    module: nn.Module,
    spec: TaskSpec,
    relation: nn.Module | None = None,
    *,
    width: Size = 64,
    pool: Pool = "mean",
    loss: Loss = "squared-error",
    norm: Norm = "running",
) -> RelationLearner:
    """Relation network: a second network compares a query with each class (Sung et al. 2018).

    module: any encoder, (n, *features) to (n, D), or to maps (n, C, H, W). relation: a module of yours that compares,
    (m, 2·D) or (m, 2·C, H, W) to (m, 1); by default convolutions for maps and a hidden layer for vectors.
    width: filters of these convolutions, or units of the hidden layer.
    pool: a class is the 'mean' of its embeddings, for any number of shots, or their 'sum', as in the paper.
    loss: 'squared-error' of the scores, as in the paper, or 'cross-entropy'.
    norm: what BatchNorm layers of both normalise by: 'running' averages over training tasks, or the 'batch' at hand.

    >>> import quickstudy as qs
    >>> learner = relationnet(nn.Linear(3, 8), qs.tasks.linear(dimensions=3).spec, width=4)
    >>> learner.init(torch.Generator())["relation.network.hidden.weight"].shape
    torch.Size([4, 16])
    """
    network = Network(module, norm)
    shape = network.output_shape(spec.format)
    if not shape:
        raise ModelError("The encoder gives one number for an example; a relation needs (n, D) or (n, C, H, W).")
    if relation is not None:
        _try(relation, torch.rand((3, 2 * shape[0], *shape[1:]), generator=torch.Generator().manual_seed(0)), spec)
    compares = Network(second.relation(shape, width) if relation is None else relation, norm, name="relation")
    return RelationLearner(network=network, spec=spec, relation=compares, pool=pool, trained_by=loss)


def _try(relation: nn.Module, pairs: Tensor, spec: TaskSpec) -> None:
    """ModelError for a relation module that gives no score for pairs like these, or would be silently wrong."""
    network = Network(relation)
    like = next(relation.parameters(), pairs)
    probe(network, spec.format, pairs.to(like.dtype))
    found = tuple(network(network.init(torch.Generator().manual_seed(0)), pairs.to(like.dtype)).shape)
    if found not in ((len(pairs), 1), (len(pairs),)):
        raise ModelError(
            f"The relation module gives the shape {found} for {len(pairs)} pairs {tuple(pairs.shape[1:])}, but one "
            "score for each is needed, (m, 1). End it with a layer of 1 output."
        )
