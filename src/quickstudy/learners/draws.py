"""Functions of PyTorch that draw at random, as functions of a key: () int64, their first argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy import rng


def _like(numbers: Tensor, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return numbers.to(device=x.device, dtype=dtype or x.dtype)


def _kept(key: Tensor, x: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    """1 / (1 − p) with the probability 1 − p, else 0."""
    if p >= 1:
        return torch.zeros_like(x)
    return _like(rng.uniform(key, shape) >= p, x) / (1 - p)


def _dropout(key: Tensor, input: Tensor, p: float = 0.5, train: bool = True, *_: Any, **__: Any) -> Tensor:
    return input * _kept(key, input, p, tuple(input.shape))


def _dropout_put(key: Tensor, input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    return input.mul_(_kept(key, input, p, tuple(input.shape)))


def _channels(x: Tensor) -> tuple[int, ...]:
    return (*x.shape[:2], *(1 for _ in x.shape[2:]))


def _feature_dropout(key: Tensor, input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    return input * _kept(key, input, p, _channels(input))


def _alpha(key: Tensor, x: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    """Dropout that keeps the mean and variance of SELU's outputs (Klambauer et al. 2017, section 2)."""
    least = -1.0507009873554805 * 1.6732632423543772
    scale = (1 - p + (1 - p) * p * least**2) ** -0.5 if p < 1 else 0.0
    kept = _like(rng.uniform(key, shape) >= p, x)
    return scale * (x * kept + least * (1 - kept) + p * -least)


def _alpha_dropout(key: Tensor, input: Tensor, p: float = 0.5, train: bool = False) -> Tensor:
    return _alpha(key, input, p, tuple(input.shape))


def _feature_alpha_dropout(key: Tensor, input: Tensor, p: float = 0.5, train: bool = False) -> Tensor:
    return _alpha(key, input, p, _channels(input))


def _rrelu(
    key: Tensor, input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *_: Any
) -> Tensor:
    slope = _like(rng.uniform(key, tuple(input.shape), lower, upper), input)
    return torch.where(input >= 0, input, slope * input)


def _attention(
    seed: Tensor, /, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Attention as PyTorch defines it, with dropout on its weights."""
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).tril().logical_not(), -math.inf)
    if attn_mask is not None:
        floats = attn_mask.is_floating_point()
        scores = scores + attn_mask if floats else scores.masked_fill(attn_mask.logical_not(), -math.inf)
    weights = scores.softmax(-1)
    return _dropout(seed, weights, dropout_p) @ value


def _shape(size: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    size = size or tuple(kwargs.get("size", ()))
    return tuple(size[0]) if size and not isinstance(size[0], int) else tuple(size)


def _placed(numbers: Tensor, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    return numbers.to(dtype=dtype or torch.get_default_dtype(), device=device or numbers.device)


def _rand(key: Tensor, *size: Any, **kwargs: Any) -> Tensor:
    return _placed(rng.uniform(key, _shape(size, kwargs)), **kwargs)


def _randn(key: Tensor, *size: Any, **kwargs: Any) -> Tensor:
    return _placed(rng.normal(key, _shape(size, kwargs)), **kwargs)


def _rand_like(key: Tensor, input: Tensor, dtype: Any = None, **_: Any) -> Tensor:
    return _like(rng.uniform(key, tuple(input.shape)), input, dtype)


def _randn_like(key: Tensor, input: Tensor, dtype: Any = None, **_: Any) -> Tensor:
    return _like(rng.normal(key, tuple(input.shape)), input, dtype)


def _bernoulli(key: Tensor, input: Tensor, p: float | None = None, **_: Any) -> Tensor:
    """1 with the probability that stands in `input`, or `p`."""
    return _like(rng.uniform(key, tuple(input.shape)) < (input if p is None else p), input)


def _put(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function as one that overwrites the tensor it is called on."""

    def put(key: Tensor, self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.copy_(function(key, self, *args, **kwargs))

    return put


def _uniform(key: Tensor, x: Tensor, low: float = 0.0, high: float = 1.0, **_: Any) -> Tensor:
    return rng.uniform(key, tuple(x.shape), low, high)


def _normal(key: Tensor, x: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
    return mean + std * rng.normal(key, tuple(x.shape))


def _exponential(key: Tensor, x: Tensor, lambd: float = 1.0, **_: Any) -> Tensor:
    return -torch.log1p(-rng.uniform(key, tuple(x.shape))) / lambd


def _bernoulli_put(key: Tensor, x: Tensor, p: Tensor | float = 0.5, **_: Any) -> Tensor:
    return rng.uniform(key, tuple(x.shape)) < p


DRAWS: dict[Any, Callable[..., Tensor]] = {
    torch.dropout: _dropout, torch.dropout_: _dropout_put, torch.feature_dropout: _feature_dropout,
    torch.alpha_dropout: _alpha_dropout,
    torch.feature_alpha_dropout: _feature_alpha_dropout, torch.rrelu: _rrelu,
    F.scaled_dot_product_attention: _attention,
    torch.rand: _rand, torch.randn: _randn, torch.rand_like: _rand_like, torch.randn_like: _randn_like,
    torch.bernoulli: _bernoulli, Tensor.bernoulli: _bernoulli, Tensor.bernoulli_: _put(_bernoulli_put),
    Tensor.uniform_: _put(_uniform), Tensor.normal_: _put(_normal), Tensor.exponential_: _put(_exponential),
}  # fmt: skip
UNKNOWN = {
    torch.native_dropout, torch.feature_dropout_, torch.alpha_dropout_, torch.feature_alpha_dropout_, torch.rrelu_,
    torch.randint, torch.randint_like, torch.randperm, torch.multinomial, Tensor.multinomial, torch.normal,
    torch.poisson, Tensor.random_, Tensor.cauchy_, Tensor.log_normal_, Tensor.geometric_,
}  # fmt: skip
"""Those for which there is no such function here."""


def _given(position: int, name: str, otherwise: float) -> Callable[..., bool]:
    """Whether the argument of a call at this position, or of this name, is above 0."""
    return lambda *args, **kwargs: kwargs.get(name, args[position] if len(args) > position else otherwise) > 0


_dropouts = (
    torch.dropout, torch.dropout_, torch.native_dropout, torch.feature_dropout, torch.feature_dropout_,
    torch.alpha_dropout, torch.alpha_dropout_, torch.feature_alpha_dropout, torch.feature_alpha_dropout_,
)  # fmt: skip
ONLY_IF: dict[Any, tuple[Callable[..., bool], ...]] = {
    **dict.fromkeys(_dropouts, (_given(1, "p", 0.5), _given(2, "train", True))),
    **dict.fromkeys((torch.rrelu, torch.rrelu_), (_given(3, "training", False),)),
    F.scaled_dot_product_attention: (_given(4, "dropout_p", 0.0),),
}
"""Functions that draw only where all of this is so of their arguments."""
