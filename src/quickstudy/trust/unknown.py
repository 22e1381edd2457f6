"""Inputs of none of a task's classes: how likely an input is of one of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from quickstudy.trust.evidence import Evidence
from quickstudy.trust.regress import Linear, logistic

_THIN = 120  # inputs of a task that it is fitted to


def seen_by(evidence: Evidence, near: Tensor) -> Tensor:
    """What the probability is made of, (m, 3 J + 2) of familiarities (m, J): these, how far they are below those of
    examples that were left out, and above those of classes that were."""
    strange = near - evidence.strange
    known = near - evidence.known if evidence.several else torch.zeros_like(near[:, :0])
    size = evidence.features[:2].expand(near.shape[0], -1)
    return torch.cat([near, known, strange, size], 1)


def fitted_unknown(proofs: Sequence[Evidence], near: Sequence[Tensor], known: Sequence[Tensor]) -> Linear:
    """The logit of the probability that an input is of one of the classes, where half of all inputs are.

    near: (q, J) of each of T tasks; known: (q,) bool. Tasks weigh alike, and so do both kinds of inputs.
    """
    thin = [torch.arange(len(part)) % max(1, len(part) // _THIN) == 0 for part in known]
    near, known = ([part[few] for part, few in zip(parts, thin, strict=True)] for parts in (near, known))
    x = torch.cat([seen_by(proof, part) for proof, part in zip(proofs, near, strict=True)])
    weight = torch.cat(
        [torch.where(part, 0.5 / part.sum().clamp(min=1), 0.5 / (~part).sum().clamp(min=1)) for part in known]
    )
    return logistic(x, torch.cat(known), weight)
