"""Recurrent readers: an LSTM that takes in one example after another, with or without an external memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.episode import State
from quickstudy.models.reading.base import Learned, Reader, features_of

READINGS = "readings"


class Gates(nn.Module):
    """An LSTM cell (Hochreiter & Schmidhuber 1997) in elementary operations: (n, D), h and c (n, width) to new h, c."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.all = nn.Linear(size + width, 4 * width)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        take, forget, candidate, give = self.all(torch.cat([x, h], dim=-1)).chunk(4, dim=-1)
        c = torch.sigmoid(forget + 1) * c + torch.sigmoid(take) * torch.tanh(candidate)  # + 1: remembers at first
        return torch.sigmoid(give) * torch.tanh(c), c


class Recurrent(Reader):
    """An LSTM reads the pairs (x, y) of the support set in their order; its state is all that is known of the task
    (Hochreiter, Younger & Conwell 2001).

    A query enters without a target, from the state after the last example. The answer for x_t from the state after
    example t − 1 is what an LSTM predicts that sees x_t together with y_{t−1}: 'readings' (n, outputs) in the state,
    where `online`. State: 'h', 'c' (width,).
    """

    def __init__(
        self, encoder: nn.Module, input_shape: tuple[int, ...], inputs: int, outputs: int, *,
        width: int = 128, online: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(encoder, inputs, outputs)
        self.width, self.online = width, online
        self.gates = Gates(features_of(encoder, input_shape) + inputs + 1, width)
        self.head = nn.Linear(self._heard(width), outputs)

    def _heard(self, width: int) -> int:
        """How many numbers the head sees."""
        return width

    def read(self, z: Tensor, y: Tensor, mask: Tensor) -> State:
        state, before = self.fresh(z), []
        for t in range(len(mask)):
            before.append(state)
            after = self.observe(state, z[t], y[t].to(z.dtype))
            state = {name: torch.where(mask[t], after[name], value) for name, value in state.items()}
        if not self.online:
            return state
        seen = [self.answer(one, z[t : t + 1]) for t, one in enumerate(before)]
        return state | {READINGS: torch.cat([z.new_zeros((0, self.outputs)), *seen])}

    def fresh(self, z: Tensor) -> State:
        """The state before the first example."""
        return {name: z.new_zeros(self.width) for name in ("h", "c")}

    def observe(self, state: State, z: Tensor, y: Tensor) -> State:
        """The state after one more example, z (D,), y (inputs,)."""
        known = torch.ones_like(y[:1])
        h, c = self.gates(torch.cat([z, y, known]), state["h"], state["c"])
        return {"h": h, "c": c}

    def _asked(self, state: State, z: Tensor) -> Tensor:
        """h (m, width) after each query by itself."""
        count = len(z)
        x = torch.cat([z, z.new_zeros((count, self.inputs + 1))], dim=1)
        h: Tensor = self.gates(x, state["h"].expand(count, -1), state["c"].expand(count, -1))[0]
        return h

    def answer(self, state: State, z: Tensor) -> Tensor:
        out: Tensor = self.head(self._asked(state, z))
        return out


class MemoryAugmented(Recurrent):
    """The LSTM with an external memory that is read by similarity and written where it was least used (MANN, Santoro
    et al. 2016).

    A row holds a key made of x and a value made of y and the LSTM's state. An example is written with weights
    σ(α) r + (1 − σ(α)) u, between where it was read from, r, and the least used row, u. Usage decays, and grows with
    reading and writing. Unlike in the paper, key and value of one example are written together, as soon as its target
    is known. State also: 'keys' (slots, size), 'values' (slots, size), 'usage' (slots,).
    """

    def __init__(
        self, encoder: nn.Module, input_shape: tuple[int, ...], inputs: int, outputs: int, *,
        width: int = 128, online: bool = False, slots: int = 64, size: int = 40, decay: float = 0.95,
    ) -> None:  # fmt: skip
        self.slots, self.size, self.decay = slots, size, decay
        super().__init__(encoder, input_shape, inputs, outputs, width=width, online=online)
        self.key = nn.Linear(features_of(encoder, input_shape), size, bias=False)
        self.value = nn.Linear(inputs + width, size)
        self.sharpness, self.reuse = Learned(1), Learned(1)

    def _heard(self, width: int) -> int:
        return width + self.size

    def fresh(self, z: Tensor) -> State:
        rows = {name: z.new_zeros((self.slots, self.size)) for name in ("keys", "values")}
        return super().fresh(z) | rows | {"usage": z.new_zeros(self.slots)}

    def _look(self, state: State, key: Tensor) -> Tensor:
        """Weights (m, slots) of reading for keys (m, size) of length 1."""
        sharp = 20.0 * self.sharpness().exp()
        return (sharp * key @ F.normalize(state["keys"], dim=-1, eps=1e-6).T).softmax(-1)

    def observe(self, state: State, z: Tensor, y: Tensor) -> State:
        after = super().observe(state, z, y)
        key = F.normalize(self.key(z), dim=-1)
        read = self._look(state, key[None])[0]
        least = F.one_hot(state["usage"].argmin(-1), self.slots).to(z.dtype)
        gate = torch.sigmoid(self.reuse())
        write = (gate * read + (1 - gate) * least)[:, None]
        value = self.value(torch.cat([y, after["h"]]))
        return after | {
            "keys": (1 - write) * state["keys"] + write * key,
            "values": (1 - write) * state["values"] + write * value,
            "usage": self.decay * state["usage"] + read + write[:, 0],
        }

    def answer(self, state: State, z: Tensor) -> Tensor:
        read = self._look(state, F.normalize(self.key(z), dim=-1)) @ state["values"]
        out: Tensor = self.head(torch.cat([self._asked(state, z), read], dim=1))
        return out
