"""What has a closed form is told to a network that reads tables: it need not learn it again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.entries import prefixed, with_prefix
from quickstudy.episode import State
from quickstudy.models.readers.base import Learned
from quickstudy.models.readers.kernel import Kept, KernelHints
from quickstudy.models.readers.ridge import RidgeHints

_KEPT = "hints."


class Hints(nn.Module):
    """What ridge and kernel regressions on the other examples say of each, for its token, and where answers start.

    State: the ridge's weights 'hints.ridge', and 'hints.<name>' of what the kernels keep, see `Kept`.
    """

    count = RidgeHints.count + KernelHints.count

    def __init__(self, inputs: int, outputs: int, width: int, whole: float) -> None:
        """inputs, outputs: as of a reader. width: of tokens. whole: what all hints together weigh at first."""
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.ridge, self.kernels = RidgeHints(), KernelHints()
        self.hinted = nn.Linear(self.count * inputs, width)
        self.trust = Learned(self.count, 1, mean=whole / self.count)

    def fit(self, z: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, State]:
        """What is added to the tokens of labels, (n, width), and what is kept.

        z (n, C, D), y (n, inputs), mask (n,).
        """
        flat, weights = self.ridge.fit(z.flatten(1), y, mask)
        each, kept = self.kernels.fit(z, y, mask)
        token: Tensor = self.hinted(torch.cat([flat, each], dim=1))
        return token, with_prefix(_KEPT, {"ridge": weights, **kept._asdict()})

    def forward(self, state: State, z: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to the tokens of queries, (m, width), and where their answers start, (m, outputs)."""
        told = prefixed(_KEPT, state)
        weights = told.pop("ridge")
        hints = torch.cat([self.ridge(weights, z.flatten(1)), self.kernels(Kept(**told), z)], dim=1)
        start = (hints.reshape(hints.shape[0], self.count, self.inputs) * self.trust()).sum(1)
        return self.hinted(hints), F.pad(start, (0, self.outputs - self.inputs))
