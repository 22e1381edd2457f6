"""Inner rules with a recurrent network: it remembers what it saw at a coordinate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from quickstudy.cells import lstm_cell
from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.inner.learned import LearnedRule, Seen, linear, log_and_sign


def _cell(generator: torch.Generator, name: str, inputs: int, hidden: int) -> Params:
    """Weights of one LSTM layer, whose columns are input gate, forget gate, output gate and candidate.

    The bias of the forget gate starts at 1, so that it remembers.
    """
    bias = torch.zeros(4 * hidden, dtype=torch.float64)
    bias[hidden : 2 * hidden] = 1
    return {
        f"{name}.input": linear(generator, inputs, 4 * hidden),
        f"{name}.hidden": linear(generator, hidden, 4 * hidden),
        f"{name}.bias": bias,
    }


def _lstm(hyper: Params, name: str, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM layer: output (n, H) and memory (n, 2H), output and cell."""
    before, cell = memory.chunk(2, dim=1)
    gates = inputs @ hyper[f"{name}.input"] + before @ hyper[f"{name}.hidden"] + hyper[f"{name}.bias"]
    i, f, o, g = gates.chunk(4, dim=1)
    output, cell = lstm_cell(i, f, g, o, cell)
    return output, torch.cat([output, cell], dim=1)


@dataclass(frozen=True)
class LSTMRule(LearnedRule):
    """Two layers of LSTM at every coordinate: update = lr · w·[h, x] + b (Andrychowicz et al. 2016).

    x is the gradient's log-magnitude and sign, h the upper layer's output. The linear layer sees x beside h, which the
    paper's does not: its weight for the sign starts at -1, so that a fresh rule takes steps of lr against the
    gradient's sign.
    """

    @property
    def width(self) -> int:
        return 4 * self.hidden

    def draw(self, generator: torch.Generator) -> Params:
        last = linear(generator, self.hidden + 2, 1, scale=0.1)
        last[self.hidden :] = torch.tensor([[0.0], [-1.0]])
        return {
            **_cell(generator, "lower", 2, self.hidden),
            **_cell(generator, "upper", self.hidden, self.hidden),
            "last.weight": last,
            "last.bias": torch.zeros(1, dtype=torch.float64),
        }

    def move(self, hyper: Params, seen: Seen) -> tuple[Tensor, Tensor]:
        x = log_and_sign(seen.grads)
        lower, upper = seen.memory.chunk(2, dim=1)
        below, lower = _lstm(hyper, "lower", x, lower)
        above, upper = _lstm(hyper, "upper", below, upper)
        out = torch.cat([above, x], dim=1) @ hyper["last.weight"] + hyper["last.bias"]
        return self.lr * out[:, 0], torch.cat([lower, upper], dim=1)


@dataclass(frozen=True)
class MetaLSTM(LearnedRule):
    """Gradient descent as the cell of an LSTM, whose gates are learned (Ravi & Larochelle 2017).

        θ ← f ∘ θ - i ∘ g        i = σ(wᵢ·[h, θ, i'] + bᵢ)        f = σ(w_f·[h, θ, f'] + b_f)

    i', f' are the gates of the step before (0 at first). h is the output of an ordinary LSTM layer that sees gradient
    and loss, each as log-magnitude and sign. The cell's learned start is φ itself. A fresh rule has i near lr and f
    near 1, and so is gradient descent at the rate lr, which must be below 1.
    """

    uses_loss: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lr < 1:
            raise ConfigError(f"The rate of a MetaLSTM is where a gate in (0, 1) starts, found {self.lr}. Lower it.")

    @property
    def width(self) -> int:
        return 2 * self.hidden + 2

    def draw(self, generator: torch.Generator) -> Params:
        start = math.log(self.lr / (1 - self.lr))
        return {
            **_cell(generator, "lower", 4, self.hidden),
            "enter.weight": linear(generator, self.hidden + 2, 1, scale=0.01),
            "enter.bias": torch.full((1,), start, dtype=torch.float64),
            "keep.weight": linear(generator, self.hidden + 2, 1, scale=0.01),
            "keep.bias": torch.full((1,), 8.0, dtype=torch.float64),  # f = 0.9997
        }

    def move(self, hyper: Params, seen: Seen) -> tuple[Tensor, Tensor]:
        assert seen.loss is not None
        g, theta = seen.grads, seen.params
        loss = log_and_sign(seen.loss).expand(len(g), 2)
        h, lower = _lstm(hyper, "lower", torch.cat([log_and_sign(g), loss], dim=1), seen.memory[:, :-2])

        def gate(name: str, before: Tensor) -> Tensor:
            inputs = torch.cat([h, theta[:, None], before[:, None]], dim=1)
            return torch.sigmoid(inputs @ hyper[f"{name}.weight"] + hyper[f"{name}.bias"])[:, 0]

        enter, keep = gate("enter", seen.memory[:, -2]), gate("keep", seen.memory[:, -1])
        update = (keep - 1) * theta - enter * g
        return update, torch.cat([lower, torch.stack([enter, keep], dim=1)], dim=1)
