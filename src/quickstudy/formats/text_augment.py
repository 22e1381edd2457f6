"""Random small distortions of texts.

A pure function of per-text keys (`quickstudy.rng`), so an augmented episode repeats like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.errors import ConfigError
from quickstudy.formats.distortion import Distortion


@dataclass(frozen=True)
class TextAugment(Distortion):
    """How far texts may be distorted in training; 0 switches it off.

    Attributes:
        drop: the probability in [0, 1) with which each token but the first is hidden from the network.
    """

    drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise ConfigError(
                f"drop must lie in [0, 1), found {self.drop}: it is the probability with which a token is hidden."
            )


def hidden(mask: Tensor, keys: Tensor, how: TextAugment) -> Tensor:
    """The mask (n, L) without the tokens that are hidden, by keys (n,). The first stays, so that no text is empty."""
    if not how.drop:
        return mask
    at = torch.arange(mask.shape[1], device=mask.device)
    kept = (rng.uniform(keys, (mask.shape[1],)) >= how.drop) | (at == 0)
    return mask * kept.to(mask.dtype)
