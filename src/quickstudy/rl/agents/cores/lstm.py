"""Long short-term memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from quickstudy.cells import lstm_cell
from quickstudy.rl.agents.cores.base import Core, Memory, after


class LongShortTerm(Core):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), as PyTorch has it but for a forget gate that is open at
    first (Jozefowicz et al. 2015). Memory: 'h', 'c' (width,)."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__(features, width)
        self.enter, self.again = nn.Linear(features, 4 * width), nn.Linear(width, 4 * width)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"h": (self.width,), "c": (self.width,)}

    def step(self, z: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return self._next(self.enter(z), memory)

    def _next(self, entering: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        i, f, g, o = (entering + self.again(memory["h"])).chunk(4, -1)
        h, c = lstm_cell(i, f + 1, g, o, memory["c"])  # + 1: remembers at first
        return h, {"h": h, "c": c}

    def sequence(self, z: Tensor, memory: Memory, count: Tensor) -> tuple[Tensor, Memory]:
        now, states = memory, []
        for entering in self.enter(z).unbind():
            _, now = self._next(entering, now)
            states.append(now)
        h, c = (torch.stack([state[name] for state in states]) for name in ("h", "c"))
        return h, {"h": after(count, h, memory["h"]), "c": after(count, c, memory["c"])}
