"""Neural processes: the support set as the mean of what is said of each example, attentive or not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quickstudy.episode import State
from quickstudy.formats.base import Format
from quickstudy.models.readers.attention import Attention
from quickstudy.models.readers.base import Learned, Reader, at_least_one, features_of, perceptron


class NeuralProcess(Reader):
    """A conditional neural process (Garnelo et al. 2018): decoder(query, mean of encoder(example, target)).

    attentive: the mean is joined by what the query finds by attention over the examples (Kim et al. 2019), without
    their latent variable. State: 'mean' (width,); attentive also 'keys' and 'values' (heads, 1 + n, …) and 'mask'.
    """

    def __init__(
        self, encoder: nn.Module, format: Format, inputs: int, outputs: int, *,
        width: int = 128, depth: int = 3, heads: int = 4, attentive: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(encoder, inputs, outputs)
        at_least_one(width=width, depth=depth)
        size = features_of(encoder, format)
        self.say = perceptron(size + inputs, *([width] * depth))
        self.decode = perceptron(size + width * (2 if attentive else 1), *([width] * depth), outputs)
        self.place = nn.Linear(size, width) if attentive else None
        self.attention = Attention(width, heads) if attentive else None
        self.nothing = Learned(1, width) if attentive else None  # what a query finds where there is no example

    def read(self, z: Tensor, y: Tensor, mask: Tensor) -> State:
        said = self.say(torch.cat([z, y.to(z.dtype)], dim=1))
        mean = (said * mask[:, None]).sum(0) / mask.sum().clamp(min=1)
        state: State = {"mean": mean}
        if self.attention is not None and self.place is not None and self.nothing is not None:
            nothing = self.nothing().to(said.dtype)
            keys = self.attention.key(torch.cat([nothing, self.place(z)]))
            values = self.attention.value(torch.cat([nothing, said]))
            state |= {"keys": keys, "values": values, "mask": torch.cat([mask.new_ones(1), mask])}
        return state

    def answer(self, state: State, z: Tensor) -> Tensor:
        parts = [z, state["mean"].expand(z.shape[0], -1)]
        if self.attention is not None and self.place is not None:
            keys, values = (self.attention.split(state[name]) for name in ("keys", "values"))
            parts.append(self.attention(self.place(z), keys, values, state["mask"]))
        out: Tensor = self.decode(torch.cat(parts, dim=1))
        return out
