"""A learned distance: which directions of a description tell that one task is a good start for another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.errors import ShapeError


def learn_metric(asked: Tensor, remembered: Tensor, gain: Tensor, steps: int = 200, sharpness: float = 10.0) -> Tensor:
    """(D,) weights, not negative, by which descriptions of new tasks are multiplied before cosines are taken.

    asked (n, D), remembered (m, D): descriptions. gain (n, m): how well task i does from memory j, such as its
    accuracy. Maximises the gain that is expected where memories are drawn with probabilities softmax(sharpness ·
    cosine), by Adam, from weights of 1; a penalty holds them near. Put it into φ as 'memory.metric' to use it; an index
    of the bank needs no change, as only what is asked is weighted.
    """
    if gain.shape != (len(asked), len(remembered)) or asked.shape[1] != remembered.shape[1]:
        raise ShapeError(
            f"gain must be (n, m) for asked (n, D) and remembered (m, D), found {tuple(gain.shape)}, "
            f"{tuple(asked.shape)} and {tuple(remembered.shape)}."
        )
    logarithm = asked.new_zeros(asked.shape[1]).requires_grad_()
    optimizer = torch.optim.Adam([logarithm], lr=0.05)
    centred = gain - gain.mean(1, keepdim=True)
    for _ in range(steps):
        cosines = F.normalize(asked * logarithm.exp(), dim=1) @ F.normalize(remembered, dim=1).T
        expected = ((sharpness * cosines).softmax(1) * centred).sum(1).mean()
        loss = 1e-3 * logarithm.square().mean() - expected
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return logarithm.detach().exp()
