"""What is expected of a step without a network: a regression of returns on what is seen and when."""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS = 5
_RIDGE = 1e-5  # of the mean square of features


def linear_values(seen: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Values (T, n, H) of steps by ridge regression within each task (Duan et al. 2016b): on what is seen, its squares,
    and powers of the time; on the time alone where there are fewer than 5 steps for each of these numbers.

    seen: (T, n, H, D) of n episodes of H steps each. returns: (T, n, H), the discounted sums of what followed. mask:
    (T, n, H) bool.
    """
    tasks, lanes, steps = returns.shape
    time = (torch.arange(steps, device=seen.device) / steps).to(seen.dtype).expand(tasks, lanes, steps)[..., None]
    when = torch.cat([time, time.square(), time**3, torch.ones_like(time)], -1)
    whole = torch.cat([seen, seen.square(), when], -1)
    if lanes * steps < _STEPS * whole.shape[-1]:  # what is fitted to so few would say each return itself
        whole = when
    z = (whole * mask[..., None]).flatten(1, 2).double()
    wanted = (returns * mask).flatten(1).double()
    gram = z.mT @ z
    strength = _RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-8)
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram + strength[:, None, None] * eye, (z.mT @ wanted[..., None]))
    values: Tensor = (whole.flatten(1, 2).double() @ weights)[..., 0]
    return values.view(tasks, lanes, steps).to(returns.dtype)
