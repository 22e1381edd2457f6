"""SNAIL: dilated convolutions over the sequence of examples, and attention over it, in turns (Mishra et al. 2018)."""

from __future__ import annotations

import math
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from quickstudy.episode import State
from quickstudy.formats.base import Format
from quickstudy.models.readers.attention import Attention
from quickstudy.models.readers.base import Learned, Reader, at_least_one, features_of


class Dense(nn.Module):
    """One causal convolution of two taps, `dilation` apart, with the paper's gate; what it finds joins what comes in.

    (n, C) to (n, C + filters). The tap before the first example sees zeros.
    """

    def __init__(self, size: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.taps = nn.Linear(2 * size, 2 * filters)

    def forward(self, h: Tensor, earlier: Tensor) -> Tensor:
        """h (m, C), and what lies `dilation` places earlier, (m, C)."""
        values, gate = self.taps(torch.cat([h, earlier], dim=1)).chunk(2, dim=1)
        return torch.cat([h, torch.tanh(values) * torch.sigmoid(gate)], dim=1)


class Look(nn.Module):
    """Attention over what came before, with one head; what it finds joins what comes in: (n, C) to (n, C + size)."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.narrow, self.attention = nn.Linear(inputs, size), Attention(size, 1)
        self.nothing = Learned(1, size)

    def keep(self, h: Tensor) -> tuple[Tensor, Tensor]:
        kept: tuple[Tensor, Tensor] = self.attention.keep(torch.cat([self.nothing().to(h.dtype), self.narrow(h)]))
        return kept

    def forward(self, h: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        return torch.cat([h, self.attention(self.narrow(h), keys, values, mask)], dim=1)


class Snail(Reader):
    """The sequence of the support's pairs (x, y), and then a query without y, each query by itself.

    length: the most examples that a query can look back over by convolutions. State: what enters each layer,
    'entering.<i>' (n, C), or the keys and values of attention, 'keys.<i>', 'values.<i>', and 'mask' (n,). Examples that
    are padding are moved before the others, where nothing lies.
    """

    ordered: ClassVar[bool] = True

    def __init__(
        self, encoder: nn.Module, format: Format, inputs: int, outputs: int, *,
        length: int = 32, filters: int = 32, size: int = 64,
    ) -> None:  # fmt: skip
        super().__init__(encoder, inputs, outputs)
        at_least_one(length=length, filters=filters, size=size)
        channels = features_of(encoder, format) + inputs
        layers: list[Dense | Look] = []
        for _ in range(2):
            layers.append(Look(channels, size))
            channels += size
            for power in range(max(1, math.ceil(math.log2(length)))):
                layers.append(Dense(channels, filters, 2**power))
                channels += filters
        layers.append(Look(channels, size))
        self.layers, self.head = nn.ModuleList(layers), nn.Linear(channels + size, outputs)

    def read(self, z: Tensor, y: Tensor, mask: Tensor) -> State:
        order = mask.to(torch.int64).argsort(stable=True)
        mask = mask[order]
        h = torch.cat([z, y.to(z.dtype)], dim=1)[order] * mask[:, None]
        state: State = {"mask": mask}
        for index, layer in enumerate(self.layers):
            if isinstance(layer, Dense):
                state[f"entering.{index}"] = h
                earlier = torch.cat([torch.zeros_like(h[:1]).expand(min(layer.dilation, len(h)), -1), h])[: len(h)]
                h = layer(h, earlier) * mask[:, None]
            else:
                keys, values = cast(Look, layer).keep(h)
                state |= {f"keys.{index}": keys, f"values.{index}": values}
                causal = torch.ones((len(h), len(h)), dtype=torch.bool, device=h.device).tril(-1) & mask
                h = layer(h, keys, values, torch.cat([torch.ones_like(causal[:, :1]), causal], dim=1)) * mask[:, None]
        return state

    def answer(self, state: State, z: Tensor) -> Tensor:
        h = torch.cat([z, z.new_zeros((z.shape[0], self.inputs))], dim=1)
        seen = torch.cat([state["mask"].new_ones(1), state["mask"]])
        for index, layer in enumerate(self.layers):
            if isinstance(layer, Dense):
                before = state[f"entering.{index}"]
                there = layer.dilation <= len(before)
                earlier = before[len(before) - layer.dilation] if there else torch.zeros_like(h[0])
                h = layer(h, earlier.expand(h.shape[0], -1))
            else:
                h = layer(h, state[f"keys.{index}"], state[f"values.{index}"], seen)
        out: Tensor = self.head(h)
        return out
