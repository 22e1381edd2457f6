"""Probabilities that are as right as they say: logits over a temperature that follows what is known of a task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from quickstudy.trust.regress import Linear, scaled

_STEPS = 50


def fitted_temperature(features: Sequence[Tensor], logits: Sequence[Tensor], y: Sequence[Tensor]) -> Linear:
    """log T of T tasks with features (f,), which minimises the mean over tasks of the negative log-likelihood of the
    labels y (q,) under logits (q, N) / T (Guo et al. 2017, with a temperature for each task).

    By L-BFGS, from T = 1, of all tasks.
    """
    x = torch.stack(list(features)).double()
    z, centre, scale = scaled(x, torch.ones(len(x), dtype=torch.float64))
    width = max(part.shape[1] for part in logits)
    said = torch.cat([_wide(part.double(), width) for part in logits])
    aim = torch.cat(list(y))
    of = torch.cat([torch.full((len(part),), i) for i, part in enumerate(y)])
    weight = torch.cat([torch.full((len(part),), 1 / (len(part) * len(y))) for part in y]).double()
    found = torch.zeros(z.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([found], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        log = (z @ found[1:] + found[0])[of]
        spread = (said / log.exp()[:, None]).log_softmax(1)
        total = -(weight * spread.gather(1, aim[:, None])[:, 0]).sum() + 1e-3 * found[1:].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weights = found.detach()
    return Linear(tuple(centre.tolist()), tuple(scale.tolist()), tuple(weights[1:].tolist()), float(weights[0]))


def _wide(logits: Tensor, width: int) -> Tensor:
    """Logits (q, width), with classes that are none."""
    return torch.nn.functional.pad(logits, (0, width - logits.shape[1]), value=-1e9)
