"""Learners that adapt in closed form over an embedding: one forward pass of the support set, no gradient steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from quickstudy.entries import HEAD, prefixed, with_prefix
from quickstudy.episode import Examples, Features, Params, State, map_features
from quickstudy.errors import ConfigError, ModelError
from quickstudy.heads import Attention, Distance, Head, Logistic, Prototypes, Ridge, full_precision
from quickstudy.learners.base import Learner
from quickstudy.learners.network import PASSING, Network, Norm
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec
from quickstudy.tally import Tally


@dataclass(frozen=True, kw_only=True)
class EmbeddingLearner(Learner):
    """φ is an encoder (and the head's few scalars); ψ is what the head fits to the embedded support set.

    Where an answer is made of many, as a mask is of pixels, each place of the encoder's maps is an example to the head.
    views: after training, an image is embedded as the mean over fixed, slightly distorted views of it.
    """

    head: Head
    views: bool = False
    averages_views: bool = False

    def __post_init__(self) -> None:
        self.head.check(self.spec.each)
        if self.views and self.spec.target.grid:
            raise ConfigError(
                "views average embeddings of an image over several views of it, whose places are not the same: masks "
                "have none. Leave views out."
            )

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator) | with_prefix(HEAD, self.head.init(self.spec.each))

    def embed(self, params: Params, x: Features) -> Tensor:
        """Embeddings (n, D), or of each place (n, D, height, width); other axes are flattened."""
        if self.averages_views:
            one = replace(self, averages_views=False)
            embedded = [self.head.comparable(one.embed(params, view)) for view in self.spec.format.views(x)]
            return torch.stack(embedded).mean(0)
        z = self.network(params, x)
        if z.dim() < 2:
            raise ModelError(
                f"The encoder gave shape {tuple(z.shape)} for a batch; an embedding needs (n, D). "
                "Keep the example axis and give at least one feature axis."
            )
        return z if self.spec.target.grid else z.flatten(1)

    def compared(self, params: Params, z: Features) -> Features:
        return map_features(self.head.comparable, z)

    @property
    def embedded(self) -> EmbeddingLearner | None:
        if self.spec.target.grid or self.network.transductive:
            return None
        return replace(self, network=PASSING, views=False, averages_views=False)

    def evaluated(self) -> EmbeddingLearner:
        return replace(self, averages_views=self.views)

    def adapt(self, params: Params, support: Examples) -> State:
        z, target = self.embed(params, support.x), self.spec.target
        with full_precision(z) as z:
            return self.head.fit(prefixed(HEAD, params), target.rows(z), target.labels(support, z), self.spec.each)

    def tally(self, params: Params, support: Examples) -> Tally | None:
        if self.transductive:  # features would be others in another batch
            return None
        z, target = self.embed(params, support.x), self.spec.target
        with full_precision(z) as z:
            return self.head.tally(prefixed(HEAD, params), target.rows(z), target.labels(support, z), self.spec.each)

    def settled(self, params: Params, tally: Tally) -> State:
        return self.head.settled(prefixed(HEAD, params), tally, self.spec.each)

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        z, target = self.embed(params, x), self.spec.target
        with full_precision(z) as z:
            said = self.head.logits(prefixed(HEAD, params), state, target.rows(z), self.spec.each)
            return target.together(said, z)


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

    On masks, with the cosine distance, it is PANet without its alignment loss: masked average pooling, and each pixel
    takes the nearest class (Wang et al. 2019); the cosine is scaled by 20 there.

    module: any encoder, (n, *features) to (n, D). distance: 'euclidean' (squared), or 'cosine'.
    temperature: scale of the logits. learn_temperature: meta-learn it, from that value on.
    views: after training, embed an image as the mean over nine fixed views of it.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    head = Prototypes(distance, temperature, learn_temperature)
    return EmbeddingLearner(network=Network(module, norm), spec=spec, head=head, views=views)


@learners.register("meta-baseline")
def meta_baseline(
    module: nn.Module,
    spec: TaskSpec,
    *,
    temperature: float = 10.0,
    learn_temperature: bool = True,
    views: bool = False,
    norm: Norm = "running",
) -> EmbeddingLearner:
    """Meta-Baseline: cosine to the class means, meta-trained from a pretrained encoder on (Chen et al. 2021).

    The encoder is a classifier's: give one of your own, or let the run start from one of `rfs` or `simpleshot`
    (`start`).

    module: any encoder, (n, *features) to (n, D). temperature: scale of the cosines. learn_temperature: meta-learn it,
    from that value on.
    views: after training, embed an image as the mean over nine fixed views of it.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.

    >>> import quickstudy as qs
    >>> spec = qs.tasks.linear(dimensions=3).spec
    >>> learner = meta_baseline(nn.Linear(3, 8), spec)
    >>> learner.init(torch.Generator())["head.log_scale"].exp()
    tensor(10.)
    """
    head = Prototypes("cosine", temperature, learn_temperature, raw_means=True)
    return EmbeddingLearner(network=Network(module, norm), spec=spec, head=head, views=views)


@learners.register("matchingnet")
def matchingnet(
    module: nn.Module, spec: TaskSpec, *, temperature: float = 10.0, norm: Norm = "running"
) -> EmbeddingLearner:
    """Matching network: attention over the embedded support set (Vinyals et al. 2016), without its LSTM.

    module: any encoder, (n, *features) to (n, D). temperature: scale of the cosine similarities.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return EmbeddingLearner(network=Network(module, norm), spec=spec, head=Attention(temperature))


@learners.register("r2d2")
def r2d2(module: nn.Module, spec: TaskSpec, *, regularisation: float = 1.0, norm: Norm = "running") -> EmbeddingLearner:
    """R2-D2: ridge regression on a learned embedding, in closed form (Bertinetto et al. 2019). Also for regression.

    module: any encoder, (n, *features) to (n, D). regularisation: initial λ, meta-learned.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return EmbeddingLearner(network=Network(module, norm), spec=spec, head=Ridge(regularisation))


@learners.register("lrd2")
def lrd2(module: nn.Module, spec: TaskSpec, *, regularisation: float = 1.0, norm: Norm = "running") -> EmbeddingLearner:
    """LR-D2: logistic regression on a learned embedding, at its minimum (Bertinetto et al. 2019).

    For embeddings of about length 1. The paper takes some steps of Newton's method; here the minimum is found, and
    training goes through how.

    module: any encoder, (n, *features) to (n, D). regularisation: λ, fixed.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return EmbeddingLearner(network=Network(module, norm), spec=spec, head=Logistic(regularisation))
