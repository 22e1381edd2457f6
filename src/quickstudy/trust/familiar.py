"""How near an input is to what a task has shown: numbers that are larger for inputs of its classes than for others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.episode import Examples, Features
from quickstudy.masked import masked_mean, one_hot
from quickstudy.trust.space import Coordinates, Space, likely

_MOST = 50.0  # by which logits are taken to differ at most: those of classes without support are far below all others
_LEAST = 1e-12  # of squared distances, beside which there is no logarithm
_FAR = 1e30
_PRIOR = 4.0  # examples by which the spread of all classes counts in that of one
OF_LOGITS = ("log-probability", "energy", "logit", "margin")
OF_EMBEDDINGS = (
    "near mean", "near example", "cosine to mean", "cosine to example", "second mean", "middle", "within spread",
    "standing out",
)  # fmt: skip
IN_SPACE = ("likeliest class", "any class", "cosine about training classes")


class Products(NamedTuple):
    """Inner products of embeddings about the mean of a task's support examples: all that distances are made of, so that
    examples can be left out in turn at no cost in their length. own: (n, n) among support examples. asked: (m, n) of
    inputs with these. size: (m,) of inputs with themselves. All float64. inside: where both lie in a `Space`, if one is
    known.
    """

    own: Tensor
    asked: Tensor
    size: Tensor
    inside: Coordinates | None = None


def products(support: Examples, z: Features, space: Space | None = None) -> Products | None:
    """Of inputs z (m, D) with the support examples; None where these are no embeddings."""
    known = support.x
    if not (isinstance(z, Tensor) and isinstance(known, Tensor) and z.dim() == 2 and z.is_floating_point()):
        return None
    inside = None if space is None else space.at(known, z)
    middle = (known * support.mask[:, None]).sum(0) / support.mask.sum().clamp(min=1)
    known, z = known - middle, z - middle
    return Products((known @ known.T).double(), (z @ known.T).double(), z.square().sum(1).double(), inside)


class Places(NamedTuple):
    """Where classes and inputs lie. to_means: squared distances (m, N) of inputs to class means. cosines: (m, N) about
    the middle of the classes. away: (m,) squared distances from there. apart: (N, N) between class means. present: (N,)
    bool.
    """

    to_means: Tensor
    cosines: Tensor
    away: Tensor
    apart: Tensor
    present: Tensor


def places(support: Examples, by: Products, ways: int) -> Places:
    members = (one_hot(support.y, ways) & support.mask[:, None]).to(by.own.dtype)
    counts = members.sum(0)
    share, present = (members / counts.clamp(min=1)).T, counts > 0  # class means are share @ z
    centre = share.sum(0) / present.sum().clamp(min=1)
    among = share @ by.own @ share.T
    norms = among.diagonal()
    seen = by.asked @ share.T
    to_middle, middle = by.asked @ centre, centre @ by.own @ centre
    between = share @ by.own @ centre
    away = (by.size - 2 * to_middle + middle).clamp(min=_LEAST)
    reach = (norms - 2 * between + middle).clamp(min=_LEAST)
    cosines = (seen - to_middle[:, None] - between + middle) / (away[:, None] * reach).sqrt()
    return Places(
        (by.size[:, None] - 2 * seen + norms).clamp(min=_LEAST), cosines, away,
        (norms[:, None] - 2 * among + norms).clamp(min=_LEAST), present,
    )  # fmt: skip


def familiar(logits: Tensor, support: Examples, by: Products | None) -> Tensor:
    """(m, J) for inputs with these logits (m, N): of `OF_LOGITS` and, with `products` of embeddings, of
    `OF_EMBEDDINGS`, and in a `Space` of `IN_SPACE`. The energy is the log of the sum of the exponentials of the logits
    (Liu et al. 2020); distances are squared and in logarithms, so that the scale of embeddings is a constant.
    """
    logits = logits.double()
    top = logits.topk(2, dim=1).values
    said = [logits.log_softmax(1).amax(1), logits.logsumexp(1), top[:, 0], (top[:, 0] - top[:, 1]).clamp(max=_MOST)]
    if by is None:
        return torch.stack(said, 1)
    at = places(support, by, logits.shape[1])
    near = torch.where(at.present, at.to_means, _FAR).topk(2, dim=1, largest=False).values
    second = torch.where(at.present.sum() > 1, near[:, 1], near[:, 0])
    norms = by.own.diagonal()
    to_known = (by.size[:, None] - 2 * by.asked + norms).clamp(min=_LEAST)
    nearest = torch.where(support.mask, to_known, _FAR).amin(1)
    centre = masked_centre(by, support)
    angle = (by.asked - centre.asked[:, None] - centre.own + centre.size) / (
        (by.size - 2 * centre.asked + centre.size).clamp(min=_LEAST)[:, None]
        * (norms - 2 * centre.own + centre.size).clamp(min=_LEAST)
    ).sqrt()
    said += [
        -near[:, 0].log(), -nearest.log(), torch.where(at.present, at.cosines, -1.0).amax(1),
        torch.where(support.mask, angle, -1.0).amax(1), second.log(), at.away.log(),
        -torch.where(at.present, at.to_means / class_spreads(support, by, at), _FAR).amin(1).log(),
        _standing_out(at),
    ]  # fmt: skip
    if by.inside is not None:
        said += likely(support, by.inside, logits.shape[1]).unbind(1)
    return torch.stack(said, 1)


def class_spreads(support: Examples, by: Products, at: Places) -> Tensor:
    """The mean squared distance of examples of each class (N,) from its mean, drawn to that of all classes: with one
    example of each, all are alike. at: of the classes; only what lies among them is looked at.
    """
    ways = at.present.shape[0]
    members = (one_hot(support.y, ways) & support.mask[:, None]).to(by.own.dtype)
    counts = members.sum(0)
    share = (members / counts.clamp(min=1)).T
    norms = (share @ by.own @ share.T).diagonal()
    squares = (members * by.own.diagonal()[:, None]).sum(0)
    total = (squares - counts * norms).clamp(min=0)  # Σ |z − mean|²
    free = (counts - 1).clamp(min=0)
    every = total.sum() / free.sum().clamp(min=1)
    every = torch.where(free.sum() > 0, every, 1.0).clamp(min=_LEAST)
    return (total + _PRIOR * every) / (free + _PRIOR)


def _standing_out(at: Places) -> Tensor:
    """How many spreads the nearest class is nearer than all are on average, in logarithms of distances: (m,)."""
    logs, count = at.to_means.log(), at.present.sum().clamp(min=1)
    mean = torch.where(at.present, logs, 0.0).sum(1) / count
    spread = (torch.where(at.present, (logs - mean[:, None]).square(), 0.0).sum(1) / count).sqrt()
    return (mean - torch.where(at.present, logs, torch.inf).amin(1)) / spread.clamp(min=1e-6)


def masked_centre(by: Products, support: Examples) -> Products:
    """The products with the mean of the support examples that count: own (n,), asked (m,), and size, a scalar."""
    share = support.mask.to(by.own.dtype) / support.mask.sum().clamp(min=1)
    own = by.own @ share
    return Products(own, by.asked @ share, share @ own)


def spreads(support: Examples, by: Products, ways: int) -> tuple[Tensor, Tensor]:
    """Two scalars, of products of support examples with themselves. The log of how far classes lie from each other over
    how far their examples lie from them, 0 where no class has two examples; and the log of how far the nearest class
    lies over how far all do, in the mean over classes.
    """
    at = places(support, by, ways)
    members = one_hot(support.y, ways) & support.mask[:, None]
    counts = members.sum(0)
    many = members & (counts > 1)
    free = (many.sum() - (counts > 1).sum()).clamp(min=1)
    within = torch.where(many, at.to_means, 0.0).sum() / free
    both = at.present[:, None] & at.present & ~torch.eye(ways, dtype=torch.bool, device=counts.device)
    every = torch.where(both, at.apart, 0.0).sum() / both.sum().clamp(min=1)
    near = masked_mean(torch.where(both, at.apart, _FAR).amin(1), at.present)
    logs = [value.clamp(min=_LEAST).log() for value in (every, within, near)]
    return torch.where((counts > 1).any(), logs[0] - logs[1], 0.0), logs[2] - logs[0]
