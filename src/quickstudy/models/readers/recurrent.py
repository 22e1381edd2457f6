"""Recurrent readers: an LSTM that takes in one example after another, with or without an external memory."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.cells import lstm_cell
from quickstudy.episode import State
from quickstudy.formats.base import Format
from quickstudy.masked import one_hot
from quickstudy.models.readers.base import Learned, Reader, at_least_one, features_of

READINGS = "readings"


class Gates(nn.Module):
    """The weights of an LSTM cell. What enters from outside is made apart: it can be made for a whole sequence at once.

    Rows of the weights: input gate, forget gate, output gate, candidate, `width` each.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.enter, self.again = nn.Linear(size, 4 * width), nn.Linear(width, 4 * width, bias=False)

    def forward(self, entering: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """New h and c (…, width) from `enter(x)` (…, 4 width) and the old ones."""
        i, f, o, g = (entering + self.again(h)).chunk(4, dim=-1)
        return lstm_cell(i, f + 1, g, o, c)  # + 1: remembers at first


class Recurrent(Reader):
    """An LSTM reads the pairs (x, y) of the support set in their order; its state is all that is known of the task
    (Hochreiter, Younger & Conwell 2001).

    A query enters without a target, from the state after the last example. The answer for x_t from the state after
    example t − 1 is what an LSTM predicts that sees x_t when it has seen y_{t−1}: 'readings' (n, outputs) in the state,
    where `online`. State: 'h', 'c' (width,).
    """

    ordered: ClassVar[bool] = True

    def __init__(
        self, encoder: nn.Module, format: Format, inputs: int, outputs: int, *,
        width: int = 128, online: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(encoder, inputs, outputs)
        at_least_one(width=width)
        self.width, self.online = width, online
        self.gates = Gates(features_of(encoder, format) + inputs + 1, width)
        self.head = nn.Linear(self._heard(width), outputs)

    def _heard(self, width: int) -> int:
        """How many numbers the head sees."""
        return width

    def read(self, z: Tensor, y: Tensor, mask: Tensor) -> State:
        y = y.to(z.dtype)
        given = self._given(z, y)
        state, before, recalled = self._fresh(z), [], []
        for t in range(len(mask)):
            after, seen = self._observe(state, {name: value[t] for name, value in given.items()})
            before.append((state["h"], state["c"]))
            recalled.append(seen)
            state = {name: torch.where(mask[t], after[name], value) for name, value in state.items()}
        if not self.online:
            return state
        if not before:
            return state | {READINGS: z.new_zeros((0, self.outputs))}
        h, c = (torch.stack(values) for values in zip(*before, strict=True))
        return state | {READINGS: self.head(self._heard_by_head(z, h, c, torch.stack(recalled)))}

    def _given(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        """All that can be made of the examples (n, …) before they are read one by one."""
        return {"entering": self.gates.enter(torch.cat([z, y, torch.ones_like(z[:, :1])], dim=1))}

    def _fresh(self, z: Tensor) -> State:
        """The state before the first example."""
        return {name: z.new_zeros(self.width) for name in ("h", "c")}

    def _observe(self, state: State, given: dict[str, Tensor]) -> tuple[State, Tensor]:
        """The state after one more example, and what the memory said of its x before."""
        h, c = self.gates(given["entering"], state["h"], state["c"])
        return {"h": h, "c": c}, h[:0]

    def _heard_by_head(self, z: Tensor, h: Tensor, c: Tensor, recalled: Tensor) -> Tensor:
        """For queries z (m, D) that enter at states h, c (m, width), each by itself: (m, heard)."""
        x = torch.cat([z, z.new_zeros((z.shape[0], self.inputs + 1))], dim=1)
        return torch.cat([self.gates(self.gates.enter(x), h, c)[0], recalled], dim=1)

    def _recalled(self, state: State, z: Tensor) -> Tensor:
        """What the memory says of queries z: (m, 0) where there is none."""
        return z[:, :0]

    def answer(self, state: State, z: Tensor) -> Tensor:
        h, c = (state[name].expand(z.shape[0], -1) for name in ("h", "c"))
        out: Tensor = self.head(self._heard_by_head(z, h, c, self._recalled(state, z)))
        return out


class MemoryAugmented(Recurrent):
    """The LSTM with an external memory that is read by similarity and written where it was least used (MANN, Santoro
    et al. 2016).

    A row holds a key made of x and a value made of y and the LSTM's state. An example is written with weights
    σ(α) r + (1 − σ(α)) u, between where it was read from, r, and the least used row, u. Usage decays, and grows with
    reading and writing. Unlike in the paper, key and value of one example are written together, as soon as its target
    is known. State also: 'rows' (slots, 2 · size), 'usage' (slots,).
    """

    def __init__(
        self, encoder: nn.Module, format: Format, inputs: int, outputs: int, *,
        width: int = 128, online: bool = False, slots: int = 64, size: int = 40, decay: float = 0.95,
    ) -> None:  # fmt: skip
        at_least_one(slots=slots, size=size)
        self.slots, self.size, self.decay = slots, size, decay
        super().__init__(encoder, format, inputs, outputs, width=width, online=online)
        self.key = nn.Linear(features_of(encoder, format), size, bias=False)
        self.target, self.context = nn.Linear(inputs, size), nn.Linear(width, size, bias=False)
        self.sharpness, self.reuse = Learned(1), Learned(1)

    def _heard(self, width: int) -> int:
        return width + self.size

    def _keys(self, z: Tensor) -> Tensor:
        """(n, size), of length 1."""
        return F.normalize(self.key(z), dim=-1)

    def _given(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        return super()._given(z, y) | {"key": self._keys(z), "target": self.target(y)}

    def _fresh(self, z: Tensor) -> State:
        like = z if z.dtype == torch.float64 else z.float()  # also where the network runs in 16 bits
        return super()._fresh(z) | {
            "rows": like.new_zeros((self.slots, 2 * self.size)),
            "usage": like.new_zeros(self.slots),
        }

    def _look(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Weights (…, slots) of reading for keys (…, size)."""
        scores: Tensor = 20.0 * self.sharpness().exp() * keys @ rows[:, : self.size].T
        return scores.softmax(-1)

    def _observe(self, state: State, given: dict[str, Tensor]) -> tuple[State, Tensor]:
        after, _ = super()._observe(state, given)
        rows, usage = state["rows"], state["usage"]
        look = self._look(rows, given["key"]).to(rows.dtype)
        least = one_hot(usage.argmin(-1), self.slots).to(rows.dtype)
        gate = torch.sigmoid(self.reuse()).to(rows.dtype)
        write = gate * look + (1 - gate) * least
        row = torch.cat([given["key"], given["target"] + self.context(after["h"])]).to(rows.dtype)
        after |= {"rows": rows + write[:, None] * (row - rows), "usage": self.decay * usage + look + write}
        return after, look @ rows[:, self.size :]

    def _recalled(self, state: State, z: Tensor) -> Tensor:
        return self._look(state["rows"], self._keys(z)) @ state["rows"][:, self.size :]
