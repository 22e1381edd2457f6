"""An in-context transformer: it reads the support set as tokens, in no order, and answers in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.episode import State
from quickstudy.errors import ConfigError, unknown_name
from quickstudy.formats.base import Format
from quickstudy.models.readers.attention import Attention, Pointer
from quickstudy.models.readers.base import Learned, Reader, at_least_one, features_of, perceptron
from quickstudy.models.readers.ridge import RidgeHints

Labels = Literal["tokens", "pointer"]
"""How labels enter. 'tokens': beside each example from the first layer on, for at most as many classes as built for.
'pointer': only in the answer, which is the attention that the examples of a class get; for any number of classes, and
relabelling them permutes the answer."""
_REGISTERS = 2  # tokens that are always there, so that an empty support set can be read too


class Layer(nn.Module):
    """Attention over the support set and a perceptron, each added to what comes in, normalised before (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.between, self.perceptron = nn.LayerNorm(width), perceptron(width, 2 * width, width)

    def keep(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        kept: tuple[Tensor, Tensor] = self.attention.keep(self.before(memory))
        return kept

    def forward(self, h: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        h = h + self.attention(self.before(h), keys, values, mask)
        out: Tensor = h + self.perceptron(self.between(h))
        return out


class Transformer(Reader):
    """Support tokens attend to each other, queries to the support; no query sees another (Müller et al. 2022).

    State: keys and values of every layer, 'keys.<i>' and 'values.<i>' (heads, R + n, width / heads), and 'mask'; with
    a pointer also 'pointers' and 'labels', with hints 'ridge'.
    """

    def __init__(
        self, encoder: nn.Module, format: Format, inputs: int, outputs: int, *,
        width: int = 64, layers: int = 4, heads: int = 4, labels: Labels | None = "tokens", hints: bool = False,
    ) -> None:  # fmt: skip
        """labels: see `Labels`; None for regression. hints: see `RidgeHints`; the answer also starts from them."""
        super().__init__(encoder, inputs, outputs)
        at_least_one(width=width, layers=layers, heads=heads)
        if labels not in (None, *get_args(Labels)):
            raise unknown_name("way in which labels enter", str(labels), get_args(Labels))
        if hints and labels == "pointer":
            raise ConfigError("Hints are of a fixed number of classes, and labels='pointer' is for any. Choose one.")
        self.token = nn.Linear(features_of(encoder, format), width)
        self.label = None if labels == "pointer" else nn.Linear(inputs, width)
        self.asking, self.registers = Learned(width), Learned(_REGISTERS, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.after = nn.LayerNorm(width)
        self.head = None if labels == "pointer" else nn.Linear(width, outputs)
        self.pointer = None if labels is None else Pointer(width)
        self.hints = RidgeHints() if hints else None
        self.hinted = nn.Linear(RidgeHints.count * inputs, width) if hints else None
        self.trust = (
            Learned(RidgeHints.count, 1, mean=1 / RidgeHints.count if labels is None else 2.0) if hints else None
        )

    def _each(self) -> Iterator[Layer]:
        return (cast(Layer, layer) for layer in self.layers)

    def read(self, z: Tensor, y: Tensor, mask: Tensor) -> State:
        tokens = self.token(z) if self.label is None else self.token(z) + self.label(y)
        state: State = {}
        if self.hints is not None and self.hinted is not None:
            hints, state["ridge"] = self.hints.fit(z, y, mask)
            tokens = tokens + self.hinted(hints)
        tokens = torch.cat([self.registers().to(tokens.dtype), tokens])
        seen = torch.cat([mask.new_ones(_REGISTERS), mask])
        state["mask"] = seen
        for index, layer in enumerate(self._each()):
            keys, values = layer.keep(tokens)
            state |= {f"keys.{index}": keys, f"values.{index}": values}
            tokens = layer(tokens, keys, values, seen)
        if self.pointer is not None:
            state |= {"pointers": self.pointer.keep(self.after(tokens[_REGISTERS:])), "labels": y}
        return state

    def answer(self, state: State, z: Tensor) -> Tensor:
        h, start = self.token(z) + self.asking(), None
        if self.hints is not None and self.hinted is not None and self.trust is not None:
            hints = self.hints(state["ridge"], z)
            h = h + self.hinted(hints)
            start = (hints.unflatten(1, (RidgeHints.count, self.inputs)) * self.trust()).sum(1)
        for index, layer in enumerate(self._each()):
            h = layer(h, state[f"keys.{index}"], state[f"values.{index}"], state["mask"])
        h = self.after(h)
        out: Tensor = h.new_zeros(()) if self.head is None else self.head(h)
        if start is not None:
            out = out + F.pad(start, (0, self.outputs - self.inputs))
        if self.pointer is not None:
            out = out + self.pointer(h, state["pointers"], state["labels"], state["mask"][_REGISTERS:])
        return out
