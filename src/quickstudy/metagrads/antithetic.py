"""Antithetic evolution strategies: what every estimate from losses at φ + σε and φ − σε is made of.

With segments, ε_1 + … + ε_i stands for ε in the i-th (persistent evolution strategies, Vicol, Metz & Sohl-Dickstein
2021); the sum is all that an estimate has to carry from one segment to the next, beside the two states.
"""

from __future__ import annotations

from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Params


def noise(params: Params, keys: Tensor) -> Params:
    """ε: standard normal numbers (*keys.shape, *shape) for each of `params` (*shape), in its dtype."""
    drawn = {n: rng.normal(rng.fold(keys, index), tuple(v.shape)) for index, (n, v) in enumerate(params.items())}
    return {name: value.to(params[name].dtype) for name, value in drawn.items()}


def both_sides(params: Params, drawn: Params, sigma: float) -> tuple[Params, Params]:
    """φ + σε and φ − σε for an ε that was drawn; entries of φ that it lacks stay where they are."""
    above, below = (
        params | {name: params[name] + scale * value for name, value in drawn.items()} for scale in (sigma, -sigma)
    )
    return above, below


def added(summed: Params, drawn: Params, scale: float = 1.0) -> Params:
    """ε_1 + … + ε_i from the sum so far and `scale` · ε_i."""
    return {name: value + scale * drawn[name] for name, value in summed.items()}


def estimate(summed: Params, above: Tensor, below: Tensor, width: float) -> Params:
    """(L⁺ − L⁻) / width · Σε, for the losses above, below () or (T,) and Σε (…) or (T, …).

    width: 2σ where ε was summed in units of σ, 2σ² where it was summed in those of φ.
    """
    slope = (above - below) / width
    return {n: slope.view((*slope.shape, *(1,) * (v.dim() - slope.dim()))) * v for n, v in summed.items()}
