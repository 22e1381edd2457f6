"""Splitting one data set into parts that are trained apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from quickstudy.errors import ConfigError, DataError, unknown_name

How = Literal["random", "class", "domain", "dirichlet"]
"""How examples are dealt out.

'random': alike (iid). 'class': sorted by class, and two runs of neighbours to each part, so that a part knows few
classes (McMahan et al. 2017). 'domain': whole groups, such as alphabets or customers. 'dirichlet': the shares of each
class are drawn from a Dirichlet distribution, the more uneven the smaller `alpha` is (Hsu, Qi & Brown 2019).
"""
_RUNS = 2
_log = logging.getLogger(__name__)


def split(
    labels: Tensor | Sequence[int],
    parts: int,
    how: How = "random",
    *,
    groups: Sequence[Any] | None = None,
    alpha: float = 0.5,
    seed: int = 0,
) -> list[Tensor]:
    """The indices (n_m,) of each part; every example is in exactly one.

    labels: the class of each example (n,). groups: the domain of each, for 'domain'. Parts that would be empty are left
    out, with a warning. Raises DataError for more parts than examples (or domains), ConfigError for wrong options.
    """
    ids = torch.as_tensor(labels, dtype=torch.int64).cpu()
    generator = torch.Generator().manual_seed(seed)
    if how not in get_args(How):
        raise unknown_name("way to split", how, get_args(How))
    if parts < 1:
        raise ConfigError(f"The number of parts must be at least 1, found {parts}.")
    if parts > len(ids):
        raise DataError(f"{len(ids)} examples cannot be split into {parts} parts. Ask for {len(ids)} at most.")
    if how == "random":
        indices = _dealt(torch.randperm(len(ids), generator=generator), parts)
    elif how == "class":
        order = torch.randperm(len(ids), generator=generator)
        runs = order[ids[order].argsort(stable=True)].tensor_split(_RUNS * parts)
        drawn = torch.randperm(_RUNS * parts, generator=generator).view(parts, _RUNS).tolist()
        indices = [torch.cat([runs[i] for i in mine]) for mine in drawn]
    elif how == "domain":
        indices = _domains(groups, len(ids), parts, generator)
    else:
        indices = _uneven(ids, parts, alpha, seed)
    empty = sum(not len(part) for part in indices)
    if empty:
        _log.warning("%d of %d parts would have no example and are left out.", empty, parts)
    return [part.sort().values for part in indices if len(part)]


def _dealt(order: Tensor, parts: int) -> list[Tensor]:
    return [order[index::parts] for index in range(parts)]


def _domains(groups: Sequence[Any] | None, count: int, parts: int, generator: torch.Generator) -> list[Tensor]:
    if groups is None or len(groups) != count:
        given = "none" if groups is None else f"{len(groups)} for {count} examples"
        raise ConfigError(f"Splitting by domain needs `groups`, the domain of each example; found {given}.")
    number = {name: index for index, name in enumerate(dict.fromkeys(groups))}
    if parts > len(number):
        raise DataError(f"{len(number)} domains cannot be split into {parts} parts. Ask for {len(number)} at most.")
    of = torch.tensor([number[name] for name in groups])
    mine = _dealt(torch.randperm(len(number), generator=generator), parts)
    return [torch.isin(of, domains).nonzero().flatten() for domains in mine]


def _uneven(ids: Tensor, parts: int, alpha: float, seed: int) -> list[Tensor]:
    if not alpha > 0:
        raise ConfigError(f"alpha of the Dirichlet distribution must be positive, found {alpha}.")
    import numpy as np

    draw = np.random.default_rng(seed)
    indices: list[list[Tensor]] = [[] for _ in range(parts)]
    for label in sorted(set(ids.tolist())):
        members = (ids == label).nonzero().flatten()
        members = members[torch.from_numpy(draw.permutation(len(members)))]
        ends = (draw.dirichlet([alpha] * parts).cumsum() * len(members)).round().astype(int)[:-1]
        for part, chunk in zip(indices, members.tensor_split(ends.tolist()), strict=True):
            part.append(chunk)
    return [torch.cat(part) for part in indices]
