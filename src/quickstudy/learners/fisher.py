"""The diagonal of the Fisher information: how sharply a network's answers depend on each of its parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quickstudy.episode import Features, Params, leaves, map_features
from quickstudy.spec import TaskSpec

_CHUNK = 8  # examples at once: each needs the gradients of all its outputs


def diagonal_fisher(
    output: Callable[[Params, Features], Tensor],
    params: Params,
    x: Features,
    spec: TaskSpec,
    mask: Tensor | None = None,
) -> Params:
    """E_x E_{y ~ p(y|x)} (∂ log p(y|x) / ∂θ)², entry by entry, for the floating-point entries of θ = `params`.

    output: logits (n, ways) or values (n, *target) of x (n, *features). The expectation over y is taken exactly, over
    all classes; a regression's values are means of Gaussians of variance 1. mask: which of the n examples count.
    """
    moving = {name: value.detach() for name, value in params.items() if value.is_floating_point()}
    fixed = {name: value for name, value in params.items() if name not in moving}

    def answers(own: Params, one: Features) -> tuple[Tensor, Tensor]:
        return spec.target.terms(output(own | fixed, map_features(lambda t: t[None], one)).flatten())

    def of_one(one: Features) -> Params:
        slopes, weights = torch.func.jacrev(answers, has_aux=True)(moving, one)
        return {name: torch.tensordot(weights, slope.square(), 1) for name, slope in slopes.items()}

    each = torch.func.vmap(of_one, chunk_size=_CHUNK)(x)
    like = next(iter(moving.values()))
    count = len(leaves(x)[0])
    weights = like.new_ones(count) if mask is None else mask.to(like.dtype)
    weights = weights / weights.sum().clamp(min=1)
    return {name: torch.tensordot(weights, value, 1) for name, value in each.items()}
