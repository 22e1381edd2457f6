"""A learner with two networks, as a user would write it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quickstudy.episode import Examples, Features, Params, State
from quickstudy.heads import class_means
from quickstudy.learners import Learner, Network
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec


class Scaled(nn.Module):
    """With a buffer that its output depends on, BatchNorm and a layer that its author has frozen."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(8, width), nn.BatchNorm1d(width), nn.Linear(width, 1)
        self.last.requires_grad_(False)
        self.register_buffer("k", torch.full((1,), 1.5))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(torch.tanh(self.norm(self.first(x))) * self.k)
        return scores


@dataclass(frozen=True, kw_only=True)
class Relation(Learner):
    """As a user would write it: the second network has a name, and nothing else is to be thought of."""

    relation: Network

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator) | self.relation.init(generator)

    def adapt(self, params: Params, support: Examples) -> State:
        means, present = class_means(self.network(params, support.x), support, self.spec.ways)
        return {"means": means, "present": present}

    def compared(self, params: Params, pairs: Tensor) -> Tensor:
        return self.relation(params, pairs)

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        z, means = self.network(params, x), state["means"]
        n, ways = len(z), len(means)
        pairs = torch.cat([z[:, None].expand(n, ways, -1), means[None].expand(n, ways, -1)], 2).flatten(0, 1)
        return torch.where(state["present"], self.compared(params, pairs).reshape(n, ways), -1e9)


@learners.register("relation-of-a-test", hidden=True)
def relation(module: nn.Module, spec: TaskSpec, *, norm: str = "running") -> Relation:
    """The two networks."""
    second = Network(Scaled(), norm, name="relation")  # type: ignore[arg-type]
    return Relation(network=Network(module), spec=spec, relation=second)
