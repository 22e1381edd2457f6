"""A meta-trained decoder of masks, which adds to what a regression of each task says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from quickstudy.entries import HEAD, prefixed, with_prefix
from quickstudy.episode import Examples, Features, Params, State, leaves, map_features
from quickstudy.errors import ConfigError
from quickstudy.heads import Ridge, full_precision
from quickstudy.hints import Size
from quickstudy.learners.base import Learner
from quickstudy.learners.network import Network, Norm
from quickstudy.masked import one_hot
from quickstudy.models.decoder import Decoder
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SCALE = 8.0  # of the regression's values, which lie in [0, 1], to logits, at first
_SPARSE = 8
"""The side of maps from which on every second place of the support set is used, along each axis: a regression says the
same of a quarter of them (on 60 validation tasks of emoji its IoU is 60.6, of all places 60.3) and costs a fifth."""


@dataclass(frozen=True, kw_only=True)
class DecoderLearner(Learner):
    """φ are an encoder of maps, a decoder, and the scalars of a ridge regression; ψ is what these keep of the support.

    Logits are the regression's plus `share` times the decoder's. Where a decoder was trained it is right; elsewhere it
    can be far off, and what was fitted to the task alone is better. So after training, with `choose`, the share is the
    one of 0, ¼, ½, ¾, 1 with the best headline over the examples of a task's support set, each held out in turn
    (leave-one-out); it is 1 in training, and for a single example. Not with the least loss, which pixels of the
    background decide: on held-out concepts both choose alike, but on defects of tiles IoU is 35 by this, 28 by that.

    decoder: a module that is called as `quickstudy.models.Decoder` is.
    """

    decoder: Network
    head: Ridge
    choose: bool = True
    chooses: bool = False

    def __post_init__(self) -> None:
        if not self.spec.target.grid:
            raise ConfigError(
                f"A decoder needs masks, but the targets of these tasks are {self.spec.target}. Use 'protonet', 'r2d2' "
                "or 'maml'."
            )

    def init(self, generator: torch.Generator) -> Params:
        own = with_prefix(HEAD, self.head.init(self.spec.each) | {"scale": torch.tensor(_SCALE)})
        return self.network.init(generator) | self.decoder.init(generator) | own

    def evaluated(self) -> DecoderLearner:
        return replace(self, chooses=self.choose)

    def adapt(self, params: Params, support: Examples) -> State:
        z = self.network(params, support.x)
        state = self._fitted(params, z, support)
        return state | {"share": self._share(params, z, support) if self.chooses else torch.ones_like(z[0, 0, 0, 0])}

    def _fitted(self, params: Params, z: Tensor, support: Examples) -> State:
        """What is kept of a support set with features z: the regression, and features of places with their classes."""
        target, (n, _, height, width) = self.spec.target, z.shape
        step = 2 if min(height, width) >= _SPARSE else 1

        def some(each: Tensor) -> Tensor:
            return each.view(n, height, width)[:, ::step, ::step].flatten()

        with full_precision(z) as z:
            every = target.labels(support, z)
            y = some(every.y)
            places = Examples(z.new_zeros(len(y), 0), y, some(every.mask))
            keys = target.rows(z[:, :, ::step, ::step])
            fitted = self.head.fit(prefixed(HEAD, params), keys, places, self.spec.each)
            members = one_hot(places.y, self.spec.ways) & places.mask[:, None]
            return fitted | {"keys": keys, "members": members.to(z.dtype)}

    def _both(self, params: Params, state: State, x: Features, z: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of the regression, and those of the decoder, for images x with features z."""
        target = self.spec.target
        with full_precision(z) as z:
            values = self.head.logits(prefixed(HEAD, params), state, target.rows(z), self.spec.each)
            maps = values.view(len(z), *z.shape[-2:], -1).permute(0, 3, 1, 2)
            given = {"z": z, "image": leaves(x)[0], "keys": state["keys"], "members": state["members"], "values": maps}
            return target.together(values, z), self.decoder(params, given)

    def _share(self, params: Params, z: Tensor, support: Examples) -> Tensor:
        """The share of the decoder's logits that is best where each example is held out: a scalar."""
        several, sign = support.mask.sum() > 1, 1.0 if self.spec.target.metric.higher_is_better else -1.0
        gains = []
        for i in range(len(z)):
            others = support.mask & (torch.arange(len(z), device=z.device) != i)
            state = self._fitted(params, z, support._replace(mask=others))
            one = Examples(map_features(lambda t, i=i: t[i : i + 1], support.x), *(t[i : i + 1] for t in support[1:]))
            fitted, decoded = self._both(params, state, one.x, z[i : i + 1])
            each = [self.spec.target.score(self._among(fitted + s * decoded, state), one) for s in _SHARES]
            gains.append(sign * torch.stack(each))
        shares = z.new_tensor(_SHARES)
        return torch.where(several, shares[torch.stack(gains).sum(0).argmax()], 1.0)

    def _among(self, prediction: Tensor, state: State) -> Tensor:
        return self.spec.target.among(prediction, state)

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        fitted, decoded = self._both(params, state, x, self.network(params, x))
        return self._among(fitted + state["share"] * decoded, state)


@learners.register("decoder", dense=True)
def decoder(
    module: nn.Module,
    spec: TaskSpec,
    decoder: nn.Module | None = None,
    *,
    width: Size = 64,
    regularisation: float = 1.0,
    choose: bool = True,
    norm: Norm = "running",
) -> DecoderLearner:
    """A decoder of masks that is meta-trained over tasks, beside a ridge regression of each task's own pixels.

    As in few-shot segmentation since PANet (Wang et al. 2019) and PFENet (Tian et al. 2020) it sees how like each place
    is to the support set's classes, and it is the same for every class. Meant for a frozen encoder, whose features the
    regression needs as they are.

    module: an encoder of maps, (n, C, size, size) to (n, D, h, w). decoder: a network of yours in the place of
    `quickstudy.models.Decoder`, called as that is.
    width: of the decoder. regularisation: initial λ of the regression, meta-learned.
    choose: after training, weigh the decoder's answer against the regression's for each task, by what would have fitted
    each example of its support set had it been held out.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.

    >>> import quickstudy as qs
    >>> spec = qs.spec.TaskSpec(qs.formats.Image(size=16), qs.targets.Masks(size=16))
    >>> learner = decoder(nn.Conv2d(3, 8, 3, padding=1), spec, width=8)
    >>> learner.init(torch.Generator())["decoder.network.reduce.weight"].shape
    torch.Size([8, 8, 1, 1])
    """
    network = Network(module, norm)
    shape = network.output_shape(spec.format) if spec.target.grid else (1,)
    answers = Decoder(shape[0], spec.input_shape[0], width) if decoder is None else decoder
    return DecoderLearner(
        network=network,
        spec=spec,
        decoder=Network(answers, norm, name="decoder"),
        head=Ridge(regularisation),
        choose=choose,
    )
