"""FEAT: class prototypes see each other before queries are compared with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quickstudy.episode import Episode, Examples, Params, State
from quickstudy.errors import ConfigError
from quickstudy.heads import Prototypes, full_precision
from quickstudy.learners.chance import QUERIES, apart
from quickstudy.learners.embedding import EmbeddingLearner
from quickstudy.learners.network import Network, Norm
from quickstudy.masked import class_means
from quickstudy.models.second import SetAttention
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally


@dataclass(frozen=True, kw_only=True)
class FEATLearner(EmbeddingLearner):
    """Prototypes c_1 … c_N, adapted to the task by a function of sets T: ψ = T({c_1, …, c_N}).

    transform: T, a module that is called with `points` (n, D), the `sets` (n,) int64 that they belong to, and a `mask`
    (n,) of those that are real. contrast: λ of the regulariser, see `contrastive`. contrast_temperature: scale of its
    logits.
    """

    transform: Network
    contrast: float = 0.0
    contrast_temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec.target.require_classes("FEAT", "Use the learner 'protonet', or 'decoder'.")
        if not (self.contrast >= 0 and self.contrast_temperature > 0):
            raise ConfigError(
                f"contrast cannot be negative and its temperature must be positive, found {self.contrast} and "
                f"{self.contrast_temperature}."
            )

    def init(self, generator: torch.Generator) -> Params:
        return super().init(generator) | self.transform.init(generator)

    def adapt(self, params: Params, support: Examples) -> State:
        return self._of_sets(params, super().adapt(params, support))

    def settled(self, params: Params, tally: Tally) -> State:
        return self._of_sets(params, super().settled(params, tally))

    def _of_sets(self, params: Params, state: State) -> State:
        one = torch.zeros_like(state["present"], dtype=torch.int64)
        return state | {"prototypes": self._transformed(params, state["prototypes"], one, state["present"])}

    def _transformed(self, params: Params, points: Tensor, sets: Tensor, mask: Tensor) -> Tensor:
        with full_precision(self.transform(params, {"points": points, "sets": sets, "mask": mask})) as adapted:
            return adapted

    def score(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        """Loss, with λ times the regulariser, and metric."""
        loss, metric = super().score(params, episode)
        return (loss + self.contrast * self.contrastive(params, episode) if self.contrast else loss), metric

    def contrastive(self, params: Params, episode: Episode) -> Tensor:
        """How far T keeps classes together and apart: a scalar (Ye et al. 2020).

        The examples of each class, of support and query, are adapted as a set; its centre is their mean. What counts is
        the cross-entropy of each example's logits, minus the squared distances of its embedding to the centres.
        """
        support, query = episode
        z = self.embed(params, support.x)
        with apart(QUERIES), full_precision(torch.cat([z, self.embed(params, query.x)])) as z:
            y, mask = torch.cat([support.y, query.y]), torch.cat([support.mask, query.mask])
            known = Examples(z, y, mask)
            centres, present = class_means(self._transformed(params, z, y, mask), known, self.spec.ways)
            state = {"prototypes": centres, "present": present}
            logits = Prototypes(temperature=self.contrast_temperature).logits({}, state, z, self.spec)
            return self.spec.target.loss(logits, known)


@learners.register("feat")
def feat(
    module: nn.Module,
    spec: TaskSpec,
    transform: nn.Module | None = None,
    *,
    temperature: float = 0.1,
    contrast: float = 0.1,
    contrast_temperature: float = 0.1,
    dropout: float = 0.0,
    norm: Norm = "running",
) -> FEATLearner:
    """FEAT: prototypes that a transformer adapts to the set of classes (Ye, Hu, Zhan & Sha 2020).

    Meant to start from a pretrained encoder, as in the paper: one of your own, or that of a run (`start`).

    module: any encoder, (n, *features) to (n, D). transform: a function of sets of yours, called with `points` (n, D),
    `sets` (n,) and `mask` (n,); by default one layer of self-attention, `quickstudy.models.SetAttention`.
    temperature: scale of the logits, minus squared distances; 1/64 or 1/32 in the paper, for its wider embeddings.
    contrast: λ of the contrastive regulariser, in training; 0 leaves it out. contrast_temperature: scale of its logits.
    dropout: of what attention adds to prototypes, in training; 0.5 in the paper.
    norm: what BatchNorm layers of both normalise by: 'running' averages over training tasks, or the 'batch' at hand.

    >>> import quickstudy as qs
    >>> learner = feat(nn.Linear(3, 8), qs.tasks.linear(dimensions=3).spec)
    >>> sorted(name for name in learner.init(torch.Generator()) if "norm" in name)
    ['transform.network.norm.bias', 'transform.network.norm.weight']
    """
    network = Network(module, norm)
    size = torch.Size(network.output_shape(spec.format)).numel()
    sets = SetAttention(size, dropout) if transform is None else transform
    return FEATLearner(
        network=network,
        spec=spec,
        head=Prototypes(temperature=temperature),
        transform=Network(sets, norm, name="transform"),
        contrast=contrast,
        contrast_temperature=contrast_temperature,
    )
