"""Small regressions in closed form or by a few Newton steps, in float64, which store as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng

_STEPS, _FEW = 100, 30
_PENALTY = 1e-3  # of quantile regression
_FLAT = 1e-6  # a feature that varies less than this has no scale


@dataclass(frozen=True)
class Linear:
    """w · (x − centre) / scale + bias for features x (…, f): all numbers are plain, so that they are stored as JSON.

    Features further than `far` scales from the centre are taken as that far: a line is not followed beyond what it was
    fitted to.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    far: float = 4.0

    def __call__(self, x: Tensor) -> Tensor:
        """(…) float64."""
        centre, scale, weights = (
            torch.tensor(part, dtype=torch.float64, device=x.device) for part in (self.centre, self.scale, self.weights)
        )
        said: Tensor = ((x.double() - centre) / scale).clamp(-self.far, self.far) @ weights + self.bias
        return said


def scaled(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, f) float64 in units of their spread and within what `Linear` follows, their centre and scale."""
    share = weight / weight.sum()
    centre = share @ x
    scale = (share @ (x - centre).square()).sqrt()
    scale = torch.where(scale > _FLAT, scale, 1.0)
    return ((x - centre) / scale).clamp(-4.0, 4.0), centre, scale


def _linear(centre: Tensor, scale: Tensor, found: Tensor) -> Linear:
    return Linear(tuple(centre.tolist()), tuple(scale.tolist()), tuple(found[1:].tolist()), float(found[0]))


def _with_one(z: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(z[:, :1]), z], 1)


def _solved(z: Tensor, weight: Tensor, aim: Tensor, penalty: float) -> Tensor:
    """Weighted ridge regression of `aim` (n,) on z (n, 1 + f), whose first column, the bias, is free."""
    gram = (z * weight[:, None]).T @ z
    shrink = torch.full((z.shape[1],), penalty * float(weight.sum()), dtype=z.dtype)
    shrink[0] = 0
    found: Tensor = torch.linalg.solve(gram + torch.diag(shrink), z.T @ (weight * aim))
    return found


def ridge(x: Tensor, y: Tensor, penalty: float = 0.01) -> Linear:
    """Least squares of y (n,) on features x (n, f). penalty: of the squared weights, of features in their own scale."""
    x, y = x.double(), y.double()
    weight = torch.ones_like(y)
    z, centre, scale = scaled(x, weight)
    return _linear(centre, scale, _solved(_with_one(z), weight, y, penalty))


def logistic(x: Tensor, y: Tensor, weight: Tensor, penalty: float = 1e-3) -> Linear:
    """Logistic regression: the logit of the probability that y (n,) bool is true.

    Each step minimises a quadratic that lies above the loss and touches it, whose curvature is tanh(u / 2) / 2u at the
    logit u (Jaakkola & Jordan 2000), so that none can overshoot.
    """
    x, aim, weight = x.double(), y.double(), weight.double()
    z, centre, scale = scaled(x, weight)
    z, found = _with_one(z), torch.zeros(x.shape[1] + 1, dtype=torch.float64)
    for _ in range(_STEPS):
        logit = z @ found
        size = logit.abs().clamp(min=1e-6)
        curve = torch.tanh(size / 2) / (2 * size)
        before, found = found, _solved(z, weight * curve, (aim - 0.5) / curve, penalty)
        if float((found - before).abs().max()) < 1e-6:
            break
    return _linear(centre, scale, found)


def quantile(x: Tensor, y: Tensor, level: float, weight: Tensor) -> Linear:
    """Quantile regression: the linear function of x (n, f) that y (n,) lies below in the share `level` of cases.

    It minimises the check function (Koenker & Bassett 1978) by weighted least squares (Hunter & Lange 2000).
    """
    x, y, weight = x.double(), y.double(), weight.double()
    z, centre, scale = scaled(x, weight)
    z = _with_one(z)
    found = torch.zeros(z.shape[1], dtype=torch.float64)
    order = y.argsort()
    below = weight[order].cumsum(0) / weight.sum()
    found[0] = y[order[int((below < level).sum().clamp(max=len(y) - 1))]]
    smooth = 1e-3 * float((y - found[0]).abs().mean()) + 1e-9
    for _ in range(_FEW):
        away = (y - z @ found).abs() + smooth
        before, found = found, _solved(z, weight / away, y + (2 * level - 1) * away, _PENALTY)
        if float((found - before).abs().max()) < 1e-4 * (smooth / 1e-3):
            break
    return _linear(centre, scale, found)


def weighted_quantile(values: Tensor, weight: Tensor, level: float) -> float:
    """The smallest of `values` (n,) that at least the share `level` of all weight is at or below."""
    order = values.argsort()
    share = weight[order].double().cumsum(0) / weight.double().sum()
    return float(values[order[min(int((share < level - 1e-12).sum()), len(values) - 1)]])


def crossed(count: int, parts: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Which of `count` tasks a model is fitted on, and which it is then tried on, for each of `parts`."""
    order = rng.permutation(rng.key(seed, "crossed"), count)
    every = torch.arange(count)
    pieces = [order[i::parts] for i in range(min(parts, count))]
    return [(every[~torch.isin(every, piece)], piece) for piece in pieces]
