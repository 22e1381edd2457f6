"""Learners that adapt in closed form over an embedding: one forward pass of the support set, no gradient steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from quickstudy.entries import HEAD, prefixed, with_prefix
from quickstudy.episode import Examples, Features, Params, State, TaskSpec
from quickstudy.errors import ConfigError, ModelError
from quickstudy.heads import Attention, Distance, Head, Prototypes, Ridge, full_precision
from quickstudy.learners.base import Learner
from quickstudy.learners.network import Network, Norm
from quickstudy.registry import learners
from quickstudy.tasks.augment import views


@dataclass(frozen=True, kw_only=True)
class EmbeddingLearner(Learner):
    """φ is an encoder (and the head's few scalars); ψ is what the head fits to the embedded support set.

    views: after training, an image is embedded as the mean over fixed, slightly distorted views of it.
    """

    head: Head
    views: bool = False
    averages_views: bool = False

    def __post_init__(self) -> None:
        if self.spec.kind == "regression" and not isinstance(self.head, Ridge):
            raise ConfigError(
                f"{type(self.head).__name__} classifies, but these are regression tasks. "
                "Use the learner 'r2d2', or a gradient learner such as 'maml'."
            )

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator) | with_prefix(HEAD, self.head.init(self.spec))

    def embed(self, params: Params, x: Features) -> Tensor:
        """(n, D) embeddings; outputs of more axes are flattened."""
        if self.averages_views:
            one = replace(self, averages_views=False)
            embedded = [self.head.comparable(one.embed(params, view)) for view in views(self._image(x))]
            return torch.stack(embedded).mean(0)
        z = self.network(params, x)
        if z.dim() < 2:
            raise ModelError(
                f"The encoder gave shape {tuple(z.shape)} for a batch; an embedding needs (n, D). "
                "Keep the example axis and give at least one feature axis."
            )
        return z.flatten(1)

    @staticmethod
    def _image(x: Features) -> Tensor:
        if not isinstance(x, Tensor) or x.dim() != 4:
            raise ConfigError("views=True distorts images (n, channels, height, width), and these inputs are none.")
        return x

    def evaluated(self) -> EmbeddingLearner:
        return replace(self, averages_views=self.views)

    def adapt(self, params: Params, support: Examples) -> State:
        z = self.embed(params, support.x)
        with full_precision(z) as z:
            return self.head.fit(prefixed(HEAD, params), z, support, self.spec)

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        z = self.embed(params, x)
        with full_precision(z) as z:
            output = self.head.logits(prefixed(HEAD, params), state, z)
        return output if self.spec.kind == "classification" else output.reshape(-1, *self.spec.target_shape)


@learners.register("protonet")
def protonet(
    module: nn.Module,
    spec: TaskSpec,
    *,
    distance: Distance = "euclidean",
    temperature: float = 1.0,
    learn_temperature: bool = False,
    views: bool = False,
    norm: Norm = "running",
) -> EmbeddingLearner:
    """Prototypical network: the nearest class mean in a learned embedding (Snell, Swersky & Zemel 2017).

    module: any encoder, (n, *features) to (n, D). temperature: scale of the logits.
    views: after training, embed an image as the mean over nine fixed views of it.
    """
    head = Prototypes(distance, temperature, learn_temperature)
    return EmbeddingLearner(network=Network(module, norm), spec=spec, head=head, views=views)


@learners.register("matchingnet")
def matchingnet(
    module: nn.Module, spec: TaskSpec, *, temperature: float = 10.0, norm: Norm = "running"
) -> EmbeddingLearner:
    """Matching network: attention over the embedded support set (Vinyals et al. 2016), without its LSTM.

    module: any encoder, (n, *features) to (n, D). temperature: scale of the cosine similarities.
    """
    return EmbeddingLearner(network=Network(module, norm), spec=spec, head=Attention(temperature))


@learners.register("r2d2")
def r2d2(module: nn.Module, spec: TaskSpec, *, regularisation: float = 1.0, norm: Norm = "running") -> EmbeddingLearner:
    """R2-D2: ridge regression on a learned embedding, in closed form (Bertinetto et al. 2019). Also for regression.

    module: any encoder, (n, *features) to (n, D). regularisation: initial λ, meta-learned.
    """
    return EmbeddingLearner(network=Network(module, norm), spec=spec, head=Ridge(regularisation))
