"""What steps are worth: discounted returns, and advantages over what was expected."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]
"""The sum over all processes that train together of what each found, of one shape everywhere."""


def alone(found: Tensor) -> Tensor:
    """The total of a process that trains by itself."""
    return found


def discounted(rewards: Tensor, goes_on: Tensor, discount: float, after: Tensor | None = None) -> Tensor:
    """Σ_k γᵏ r_{t+k} of each step (n, T), up to the first step after which nothing goes on.

    goes_on: (n, T) bool, whether the next column follows on a step. after: (n,), the value of what follows the last.
    """
    total = torch.zeros_like(rewards[:, 0]) if after is None else after
    found = []
    for t in range(rewards.shape[1] - 1, -1, -1):
        total = rewards[:, t] + discount * torch.where(goes_on[:, t], total, 0.0)
        found.append(total)
    return torch.stack(found[::-1], 1)


def advantages(
    rewards: Tensor, values: Tensor, after: Tensor, goes_on: Tensor, discount: float, trace: float
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016), (n, T): Σ_k (γλ)ᵏ δ_{t+k} with the errors
    δ_t = r_t + γ V(s_{t+1}) − V(s_t).

    values: V(s_t), (n, T). after: V(s_{t+1}), (n, T): 0 where an episode has ended, and the value of what would have
    followed where only its time was up. goes_on: (n, T) bool, whether the next column follows on a step, so that its
    advantage counts here too. discount: γ. trace: λ; 1 gives returns less values, 0 only δ.
    """
    errors = rewards + discount * after - values
    return discounted(errors, goes_on, discount * trace)


def followed(mask: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Which steps (…, T) another real one follows, and its value (…, T), 0 where none does. mask: which are real."""
    goes_on = torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], -1)
    return goes_on, torch.where(goes_on, values.roll(-1, -1), 0.0)


def centred(values: Tensor, mask: Tensor, total: Total = alone) -> tuple[Tensor, Tensor]:
    """Values of mean 0 over all that are real, in every process, 0 elsewhere; and their standard deviation, ()."""
    real = mask.to(values.dtype)
    sums = total(torch.stack([real.sum(), (values * real).sum()]))
    count = sums[0].clamp(min=1)
    found = (values - sums[1] / count) * real
    return found, (total(found.square().sum()) / count).sqrt()


def standardised(values: Tensor, mask: Tensor, total: Total = alone) -> Tensor:
    """Values of mean 0 and deviation 1 over all that are real, in every process; 0 elsewhere."""
    found, spread = centred(values, mask, total)
    return found / (spread + 1e-8)
