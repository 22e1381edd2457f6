"""Descriptions of a task as a vector of fixed length, by which similar tasks are found.

They depend neither on the order of the support examples nor on which class is called 0.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.entries import PARAMETER, prefixed
from quickstudy.episode import Examples, Features, Params
from quickstudy.errors import ModelError, unknown_name
from quickstudy.heads import Ridge, full_precision
from quickstudy.learners.fisher import diagonal_fisher
from quickstudy.learners.network import Network
from quickstudy.spec import TaskSpec

Describe = Literal["features", "task2vec"]
"""'features': statistics of a frozen network's features. 'task2vec': diagonal Fisher information (Achille et al.
2019)."""
LENGTH = 128
_SKETCH = 32
_RIDGE, _LEAST = 0.1, 1e-5  # of the mean squared length of the features, and of that with the bias's 1


def describe(how: Describe, network: Network, params: Params, support: Examples, spec: TaskSpec) -> Tensor:
    """(128,): the description of the task that has this support set, by the network at φ = `params`.

    What is found out is projected onto 128 fixed random directions, which nearly keeps cosines (Johnson & Lindenstrauss
    1984): the length depends neither on the network nor on the task.
    """
    if how not in get_args(Describe):
        raise unknown_name("way to describe tasks", how, get_args(Describe))
    of = _features if how == "features" else _task2vec
    measured = of(network, params, support, spec).detach()
    return measured @ _directions(len(measured), LENGTH).to(measured)


def _features(network: Network, params: Params, support: Examples, spec: TaskSpec) -> Tensor:
    """Mean of each feature, how it varies within and with labels, and a sketch of the covariance, each of length 1."""
    with full_precision(network.features(params, support.x)) as z:
        weights = support.mask.to(z.dtype) / support.mask.sum().clamp(min=1)
        mean = weights @ z
        centred = (z - mean) * weights.sqrt()[:, None]
        within, between = spec.target.scatter(z, centred, weights, support)
        sketch = (centred @ _directions(z.shape[1], _SKETCH).to(z)).square().sum(0).sqrt()
        return torch.cat([F.normalize(part, dim=0) for part in (mean, within, between, sketch)])


@lru_cache(16)
def _directions(size: int, count: int) -> Tensor:
    """Fixed random directions (size, count)."""
    drawn = torch.randn((size, count), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn / math.sqrt(size)


def _task2vec(network: Network, params: Params, support: Examples, spec: TaskSpec) -> Tensor:
    """log of the Fisher information of φ with a head fitted to the task, averaged over each output channel."""
    head = fit_head(network, params, {}, support, spec)
    own = prefixed(PARAMETER, params)
    frozen = {name: value for name, value in own.items() if name not in head}

    def output(values: Params, x: Features) -> Tensor:
        return network(params, x, values | head)

    information = diagonal_fisher(output, frozen, support.x, spec, support.mask)
    channels = [value.flatten(1).mean(1) if value.dim() > 1 else value for value in information.values()]
    return torch.cat(channels).clamp(min=1e-12).log()


def head_names(network: Network) -> tuple[str, str | None]:
    """The names of the head's weight and bias (None without one). Raises ModelError for a head that is not linear."""
    layer = network.module.get_submodule(network.head)
    if not isinstance(layer, torch.nn.Linear):
        raise ModelError(
            f"The last layer with parameters, {network.head!r}, is {type(layer).__name__}, and only a linear head can "
            "be fitted to a new task's classes. End the network with nn.Linear."
        )
    prefix = f"{network.head}.".lstrip(".")
    return f"{prefix}weight", f"{prefix}bias" if layer.bias is not None else None


def fit_head(network: Network, params: Params, task: Params, support: Examples, spec: TaskSpec) -> Params:
    """Weight and bias of the head, by ridge regression on the features of the support set; names without prefix.

    task: entries that replace those of φ. A network's own head knows other classes: what it calls class 0 is not what
    this task calls so. The logits lie near [0, 1]: a surer head would leave the inner steps no gradient to learn from.
    """
    weight, bias = head_names(network)
    with full_precision(network.features(params, support.x, task)) as z:
        size = (z.square().sum(1) * support.mask).sum() / support.mask.sum().clamp(min=1)
        strength = torch.maximum(_RIDGE * size, _LEAST * (1 + size))  # features may all be 0
        ridge = Ridge().fit({"log_regularisation": strength.log()}, z, support, spec)["weights"]
    fitted = {weight: ridge[:-1].T} | ({} if bias is None else {bias: ridge[-1]})
    like = prefixed(PARAMETER, params)[weight].dtype
    return {name: value.to(like).contiguous() for name, value in fitted.items()}
