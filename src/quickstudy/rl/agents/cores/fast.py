"""Fast weights: a memory that is a matrix, to which each step adds an outer product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.models.readers.base import perceptron
from quickstudy.rl.agents.cores.base import Core, Memory

_BLOCKS, _HEAD = 1, 8  # blocks, and how much of the width there is a head for
_SHARP = 4.0  # of keys and queries: at first their features lie between one place and all alike
_CHUNK = 64  # steps that are multiplied with each other at once; memory grows with its square


class Decay(nn.Module):
    """log λ (heads,) of the share λ of a memory that is left after a step: at first 1 − λ = 1/64, 1/128, 1/256, …"""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.empty(heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.logit.copy_((2.0 ** (6 + torch.arange(len(self.logit))) - 1).log())

    def forward(self) -> Tensor:
        return F.logsigmoid(self.logit)


class LinearAttention(nn.Module):
    """Causal attention with weights λ^{t−s} φ(q_t)·φ(k_s) (Katharopoulos et al. 2020) and φ(x) = softmax(4 x) over the
    d features of a head (Zhang et al. 2024): keys that are told apart soon have places of their own, where those of
    elu(x) + 1 still mix.

    Its memory is S (heads, d, d + 1), the fast weights (Schlag et al. 2021): S_t = λ S_{t−1} + φ(k_t) [v_t, 1]ᵀ. What
    is read, φ(q_t)ᵀ S_t, is a sum of values and one of weights. A head says the first over 1 + the second: an empty
    memory says nothing, and what is said tells how much has been seen, as the mean of a normal variable does after one
    made-up observation of 0. All heads together are twice as wide as what comes in: there can be one for each of a few
    actions, which holds what that action brought and puts all others aside.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, -(-2 * width // heads)
        self.asks = nn.Linear(width, 3 * heads * self.size, bias=False)
        self.decay, self.out = Decay(heads), nn.Linear(heads * self.size, width)

    def _given(self, z: Tensor) -> tuple[Tensor, ...]:
        """Queries and keys (…, heads, d) and values (…, heads, d + 1), the last of them 1."""
        ask, key, value = self.asks(z).unflatten(-1, (3 * self.heads, self.size)).chunk(3, -2)
        return torch.softmax(_SHARP * ask, -1), torch.softmax(_SHARP * key, -1), F.pad(value, (0, 1), value=1.0)

    def _said(self, read: Tensor) -> Tensor:
        said: Tensor = self.out((read[..., :-1] / (1 + read[..., -1:])).flatten(-2))
        return said

    def step(self, z: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(n, width) for one step z (n, width) after the memory (n, heads, d, d + 1), and the memory after it."""
        q, k, v = self._given(z)
        memory = torch.addcmul(self.decay().exp()[:, None, None] * memory, k[..., None], v[..., None, :])
        return self._said((q[..., None] * memory).sum(-2)), memory

    def sequence(self, z: Tensor, memory: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """(T, width) for steps z (T, width) after the memory (heads, d, d + 1), and the memory after `count` () of
        them."""
        said, done = [], 0
        for q, k, v in zip(*(torch.split(part.transpose(0, 1), _CHUNK, 1) for part in self._given(z)), strict=True):
            length = q.shape[1]
            read, memory = self._chunk(q, k, v, memory, (count - done).clamp(0, length))
            said.append(read.transpose(0, 1))
            done += length
        return self._said(torch.cat(said)), memory

    def _chunk(self, q: Tensor, k: Tensor, v: Tensor, memory: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """What is read at each of a few steps, (heads, L, d + 1), and the memory after the first `real` of them."""
        at, decay = torch.arange(q.shape[-2], device=q.device), self.decay()[:, None]
        since = (at[:, None] - at).clamp(min=0)
        within = (decay[..., None] * since).exp().tril()
        before = (decay * (at + 1)).exp()[..., None]
        read = (q @ k.transpose(-1, -2) * within) @ v + before * (q @ memory)
        kept = torch.where(at < real, (decay * (real - 1 - at).clamp(min=0)).exp(), 0.0)[..., None]
        return read, (decay * real).exp()[..., None] * memory + (k * kept).transpose(-1, -2) @ v


class Block(nn.Module):
    """Linear attention and a perceptron, each added to what comes in, normalised before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        heads = max(1, width // _HEAD)
        self.before, self.attention = nn.LayerNorm(width), LinearAttention(width, heads)
        self.between, self.perceptron = nn.LayerNorm(width), perceptron(width, 2 * width, width)

    def forward(self, z: Tensor, memory: Tensor, count: Tensor | None) -> tuple[Tensor, Tensor]:
        """What leaves (n, width) for z (n, width), and the memory after it. count: as of `sequence`; None for a step in
        each of n lanes."""
        heard, attention = self.before(z), self.attention
        said, memory = attention.step(heard, memory) if count is None else attention.sequence(heard, memory, count)
        z = z + said
        return z + self.perceptron(self.between(z)), memory


class FastWeights(Core):
    """Blocks of linear attention. Memory: the fast weights of each block, '0', '1', … (heads, d, d + 1), with a head
    for every 8 of the width and d = 2 width / heads, 16 where it is a multiple of 8.

    A trial is computed by masked products over all of its steps, 64 at a time; when acting, one step after another.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__(features, width)
        self.enter, self.leave = nn.Linear(features, width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(_BLOCKS))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        layers = {name: cast(Block, block).attention for name, block in self.blocks.named_children()}
        return {name: (layer.heads, layer.size, layer.size + 1) for name, layer in layers.items()}

    def step(self, z: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return self._through(z, memory, None)

    def sequence(self, z: Tensor, memory: Memory, count: Tensor) -> tuple[Tensor, Memory]:
        return self._through(z, memory, count)

    def _through(self, z: Tensor, memory: Memory, count: Tensor | None) -> tuple[Tensor, Memory]:
        z, after = self.enter(z), {}
        for name, block in self.blocks.named_children():
            z, after[name] = cast(Block, block)(z, memory[name], count)
        said: Tensor = self.leave(z)
        return said, after
