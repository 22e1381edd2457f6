"""Texts as weighted bags of runs of tokens, hashed into a vector: small, and without any pretrained weights."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.hints import Size, Within
from quickstudy.models.head import with_head
from quickstudy.registry import models
from quickstudy.spec import TaskSpec

_NAMES = {"input_ids", "attention_mask"}
_PRIME = 2_147_483_647
_ID, _NEXT, _ORDER, _MIX, _ADD = 15_485_863, 31_337_201, 86_028_121, 1_103_515_245, 12_345
_LEAST = 1e-6  # a length that is divided by
_SHARE = -2.0  # of the map where it is drawn, before the sigmoid: at first the sums say nearly all


class NGrams(nn.Module):
    """Embeddings (n, size + width) of length 1, of `input_ids` and `attention_mask` (n, L).

    Every run of `shortest` to `longest` tokens adds its learned weight, with a sign, to one of `size` sums, both by a
    hash of the run (Weinberger et al. 2009); `weights` of them are learned, and play the part of inverse document
    frequencies. Beside the sums, brought to the length 1, stands a linear map of them to `width` numbers, which
    learns what is alike in meaning.
    """

    def __init__(self, shortest: int, longest: int, size: int, weights: int, width: int) -> None:
        super().__init__()
        self.shortest, self.longest, self.size = shortest, longest, size
        self.features = size + width
        self.weights = nn.Parameter(torch.zeros(weights))
        self.map = nn.Parameter(torch.empty(width, size))
        self.share = nn.Parameter(torch.tensor(0.0))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weights)
        nn.init.normal_(self.map, std=self.size**-0.5)
        nn.init.constant_(self.share, _SHARE)

    def runs(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A hash of the run that ends at each token, of each length, and whether there is one: (n, orders · L)."""
        length = ids.shape[1]
        hashed, there = torch.zeros_like(ids), torch.ones_like(mask, dtype=torch.bool)
        values, known = [], []
        for back in range(self.longest):
            pad = min(back, length)
            hashed = (hashed * _NEXT + F.pad(ids + 1, (pad, 0))[:, :length] * _ID) % _PRIME
            there = there & F.pad(mask > 0, (pad, 0))[:, :length]
            if back + 1 >= self.shortest:
                mixed = (hashed + (back + 1) * _ORDER) % _PRIME
                values.append((mixed * _MIX + _ADD) % _PRIME)
                known.append(there)
        return torch.cat(values, dim=1), torch.cat(known, dim=1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hashed, there = self.runs(input_ids, attention_mask)
        sign = 1.0 - 2.0 * ((hashed >> 20) & 1)
        weights = self.weights[hashed % len(self.weights)].exp() * sign * there
        rows = torch.arange(weights.shape[0], device=weights.device)[:, None].expand_as(hashed)
        sums = weights.new_zeros((weights.shape[0], self.size))
        # Not scatter_add, whose sums on a GPU are in any order.
        sums = sums.index_put((rows, (hashed >> 3) % self.size), weights, accumulate=True)
        sums = F.normalize(sums, dim=1, eps=_LEAST)
        mapped = F.normalize(F.linear(sums, self.map), dim=1, eps=_LEAST)
        share = self.share.sigmoid()
        return torch.cat([(1 - share).sqrt() * sums, share.sqrt() * mapped], dim=1)


@models.register("ngrams", axes=0, several=True)
def ngrams(
    spec: TaskSpec,
    head: bool = True,
    *,
    shortest: Size = 2,
    longest: Annotated[int, Within(1, 16)] = 5,
    size: Size = 4096,
    weights: Size = 1 << 17,
    width: Size = 256,
) -> nn.Module:
    """Runs of tokens, each with a learned weight, hashed into one vector: for texts, without pretrained weights.

    It does best where tokens are short, such as the letters of a small vocabulary (--tasks.vocabulary 300). With `head`
    a linear layer gives `spec.outputs` numbers.

    shortest, longest: how many tokens a run has. size: of the vector that runs are hashed into.
    weights: how many runs can have a weight of their own. width: of a learned map of the vector, beside it.
    """
    if set(spec.format.layout) != _NAMES:
        raise ConfigError(
            f"The model 'ngrams' takes texts ({' and '.join(sorted(_NAMES))}), but these are {spec.format}. Choose "
            "another model: `quickstudy list models` shows them."
        )
    if longest < shortest:
        raise ConfigError(f"shortest={shortest} is longer than longest={longest}. Lower it.")
    encoder = NGrams(shortest, longest, size, weights, width)
    return with_head(encoder, encoder.features, spec) if head else encoder
