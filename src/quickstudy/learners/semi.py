"""Prototypes that unlabelled support examples refine (Ren et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quickstudy.episode import Examples, Params, State
from quickstudy.errors import ConfigError
from quickstudy.heads import Distance, Prototypes, squared_distances
from quickstudy.hints import Steps
from quickstudy.learners.embedding import EmbeddingLearner
from quickstudy.learners.network import Network, Norm
from quickstudy.masked import one_hot, unlabelled
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally


@dataclass(frozen=True)
class RefinedPrototypes(Prototypes):
    """Class means, moved by soft k-means over the support examples that have no class.

    rounds: of k-means, from the means of the labelled examples on; 0 ignores the others. An unlabelled example at z
    counts for class c by the share of exp(−s ‖z − p_c‖²), s the scale of the logits. distractors: some may be of no
    class of the task: a further cluster, whose centre is 0 and whose radius r is meta-learned, takes its share of
    exp(−s ‖z‖² / r² − log r).
    """

    rounds: int = 1
    distractors: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 0:
            raise ConfigError(f"The rounds of k-means cannot be negative, found {self.rounds}.")

    def init(self, spec: TaskSpec) -> Params:
        return super().init(spec) | ({"log_radius": torch.tensor(0.0)} if self.distractors else {})

    def fit(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> State:
        state = super().fit(params, z, support, spec)
        z, free = self.comparable(z), unlabelled(support).to(z.dtype)[:, None]
        told = one_hot(support.y, spec.ways).to(z.dtype) * support.mask[:, None]
        scale = params["log_scale"].exp() if self.learn_temperature else self.temperature
        means, present = state["prototypes"], state["present"]
        for _ in range(self.rounds):
            near = torch.where(present, -scale * squared_distances(z, means), -math.inf)
            if self.distractors:
                radius = params["log_radius"]
                nothing = -scale * z.square().sum(1, keepdim=True) * (-2 * radius).exp() - radius
                near = torch.cat([near, nothing], 1)
            else:
                near = torch.where(present.any(), near, 0.0)
            weight = told + free * near.softmax(1)[:, : spec.ways]
            means = weight.T @ z / torch.where(present, weight.sum(0), 1.0)[:, None]
        return state | {"prototypes": means}

    def tally(self, params: Params, z: Tensor, support: Examples, spec: TaskSpec) -> Tally | None:
        """None where some have no class: to which they are counted changes with every further example."""
        return None if bool(unlabelled(support).any()) else super().tally(params, z, support, spec)


@dataclass(frozen=True, kw_only=True)
class SemiSupervised(EmbeddingLearner):
    """An encoder and refined prototypes; φ and ψ are those of prototypes."""

    @property
    def semi_supervised(self) -> bool:
        return True


@learners.register("semi-protonet")
def semi_protonet(
    module: nn.Module,
    spec: TaskSpec,
    *,
    distance: Distance = "euclidean",
    temperature: float = 1.0,
    learn_temperature: bool = False,
    rounds: Steps = 1,
    distractors: bool = True,
    views: bool = False,
    norm: Norm = "running",
) -> SemiSupervised:
    """Prototypical network whose class means unlabelled support examples refine by soft k-means (Ren et al. 2018).

    module: any encoder, (n, *features) to (n, D). distance: 'euclidean' (squared), or 'cosine'.
    temperature: scale of the logits. learn_temperature: meta-learn it, from that value on.
    rounds: of k-means. distractors: a further cluster takes examples that are of no class of the task.
    views: after training, embed an image as the mean over nine fixed views of it.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    head = RefinedPrototypes(distance, temperature, learn_temperature, False, rounds, distractors)
    return SemiSupervised(network=Network(module, norm), spec=spec, head=head, views=views)
