"""Means of models: uniform and weighted, by Fisher information, of differences, and over time.

A model is a flat mapping from names to tensors: φ, or the `state_dict` of any `nn.Module`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from quickstudy.entries import not_finite, trainable
from quickstudy.episode import Params
from quickstudy.errors import ConfigError, ModelError

Models = Mapping[str, Params] | Sequence[Params]
"""Models by name, or in order, which are then called 'model 0', 'model 1', …"""
Weights = Mapping[str, float] | Sequence[float]
"""One for each model: by the models' names, or in their order."""
_T = TypeVar("_T")
_FLOOR = 1e-12  # of the Fisher information, so that an entry that matters to no model has a mean
_log = logging.getLogger(__name__)


def named(models: Models) -> dict[str, Params]:
    """The models by name. Raises ConfigError if there is none, and ModelError if two of them do not match."""
    models_by_name = (
        dict(models) if isinstance(models, Mapping) else {f"model {index}": model for index, model in enumerate(models)}
    )
    if not models_by_name:
        raise ConfigError("There is no model to average. Give at least one.")
    (first, one), *others = models_by_name.items()
    for name, other in others:
        _check_alike(first, one, name, other)
    return models_by_name


def _check_alike(first: str, one: Params, second: str, other: Params) -> None:
    """ModelError that names the first parameter in which the two differ."""
    for key in one.keys() | other.keys():
        if key not in one or key not in other:
            key = next(k for k in [*one, *other] if k not in one or k not in other)
            has, lacks = (first, second) if key in one else (second, first)
            raise ModelError(f"{has!r} has a parameter {key!r}, but {lacks!r} has none. Average models of one network.")
    for key, value in one.items():
        mine, yours = (f"the shape {tuple(v.shape)} and the type {v.dtype}" for v in (value, other[key]))
        if mine != yours:
            raise ModelError(
                f"The parameter {key!r} of {second!r} has {yours}, but that of {first!r} has {mine}. "
                "Average models of one network and one precision."
            )


def finite(models: Models) -> dict[str, Params]:
    """The models without NaN and infinite values; those left out are named in a warning.

    Raises ModelError if none is left.
    """
    models_by_name = named(models)
    bad = {name: key for name, model in models_by_name.items() if (key := not_finite(model)) is not None}
    said = ", ".join(f"{name!r} (in {key})" for name, key in bad.items())
    if len(bad) == len(models_by_name):
        raise ModelError(f"Every model holds NaN or infinite values: {said}. Train them again with a lower rate.")
    if bad:
        _log.warning("Left out of the average, as they hold NaN or infinite values: %s.", said)
    return {name: model for name, model in models_by_name.items() if name not in bad}


def for_each(names: Iterable[str], given: Mapping[str, _T] | Sequence[_T], what: str) -> dict[str, _T]:
    """What is given for each model, by their names: itself by these names, or in their order.

    what: such as 'weight'. Raises ConfigError for names that are missing or unknown, and for too few or too many.
    """
    names = list(names)
    if isinstance(given, Mapping):
        missing, unknown = [n for n in names if n not in given], [n for n in given if n not in names]
        wrong = [f"no {what} for {_listed(missing)}"] if missing else []
        wrong += [f"a {what} for {_listed(unknown)}, which is no model"] if unknown else []
        if wrong:
            raise ConfigError(
                f"There is {' and '.join(wrong)}. Give one {what} for each model, by the names {_listed(names)}."
            )
        return {name: given[name] for name in names}
    if len(given) != len(names):
        raise ConfigError(f"There are {len(names)} models but {len(given)} {what}s. Give one for each.")
    return dict(zip(names, given, strict=True))


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(repr, names[:10])) + (", …" if len(names) > 10 else "")


def mean(models: Models, weights: Weights | None = None) -> Params:
    """Σ w_m θ_m / Σ w_m; the plain mean without weights. Sums are taken in float64.

    Entries that are not floating point are taken from the first model. Models with NaN are left out, named. BatchNorm
    statistics are averaged like the rest, which is not what the averaged network would find: see `recalibrated`.
    Raises ModelError for models that do not match, ConfigError for weights that do not fit.
    """
    by_name = _weighted(models, weights)
    kept = finite(models)
    total = sum(by_name[name] for name in kept)
    if not total > 0:
        raise ConfigError(f"The weights of the models that are left must sum to more than 0, found {total:g}.")
    return combined(list(kept.values()), [by_name[name] / total for name in kept])


def _weighted(models: Models, weights: Weights | None) -> dict[str, float]:
    names = list(named(models))
    given = for_each(names, [1.0] * len(names) if weights is None else weights, "weight")
    by_name = {name: float(weight) for name, weight in given.items()}
    if any(not 0 <= weight < float("inf") for weight in by_name.values()):
        raise ConfigError(f"Weights must be finite and not negative, found {list(by_name.values())}.")
    return by_name


def combined(models: Sequence[Params], weights: Sequence[float]) -> Params:
    """Σ w_m θ_m of the floating-point entries; the others are the first model's."""
    return {
        key: torch.stack([_wide(m[key]) * w for m, w in zip(models, weights, strict=True)]).sum(0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for key, value in models[0].items()
    }


def fisher_mean(models: Models, information: Models) -> Params:
    """Σ F_m θ_m / Σ F_m, entry by entry: each model counts where it is sure (Matena & Raffel 2022).

    information: the diagonal Fisher information of each model, by its name or in order, see
    `quickstudy.learners.fisher`. What it does not name is averaged plainly.
    """
    by_name = named(models)
    sure = for_each(by_name, information, "information")
    kept = finite(by_name)
    result = mean(kept)
    for key in next(iter(sure.values())):
        weights = torch.stack([_wide(sure[name][key]) for name in kept]) + _FLOOR
        values = torch.stack([_wide(model[key]) for model in kept.values()])
        result[key] = ((weights * values).sum(0) / weights.sum(0)).to(result[key].dtype)
    return result


def task_arithmetic(base: Params, models: Models, scale: float | Weights = 1.0) -> Params:
    """θ₀ + Σ λ_m (θ_m − θ₀): what each model learned from θ₀, added up (Ilharco et al. 2023).

    scale: λ, one for all, or one for each by its name or in order; a negative one makes the model forget.
    """
    everyone = named({"the base": base, **named(models)})
    kept = finite(everyone)
    if "the base" not in kept:
        raise ModelError("The base model holds NaN or infinite values, so nothing can be added to it.")
    names = list(everyone)[1:]
    scales = for_each(names, [scale] * len(names) if isinstance(scale, (int, float)) else scale, "scale")
    left = {name: λ for name, λ in scales.items() if name in kept}
    return combined([base, *(kept[name] for name in left)], [1 - sum(left.values()), *left.values()])


def moving_average(average: Params, params: Params, decay: float) -> Params:
    """decay · average + (1 − decay) · params: one step of an exponential moving average."""
    if not 0 <= decay <= 1:
        raise ConfigError(f"The decay of a moving average must lie in [0, 1], found {decay}.")
    everyone = list(named({"the average": average, "the model": params}).values())
    return combined(everyone, [decay, 1 - decay])


def direction(model: Params) -> Tensor:
    """The weights as one vector. Scales, shifts and statistics, alike in all networks, are left out where there are
    tensors of two axes or more."""
    floats = {name: value for name, value in model.items() if value.is_floating_point() and trainable(name)}
    weights = [value for value in floats.values() if value.dim() > 1] or list(floats.values())
    return torch.cat([_wide(value.detach()).flatten() for value in weights])


def _wide(value: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return value.float() if value.device.type == "mps" else value.double()


def _pairs(models: dict[str, Params]) -> Iterator[tuple[str, str, float]]:
    vectors = {name: direction(model) for name, model in models.items()}
    names = list(vectors)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            yield one, other, float(torch.cosine_similarity(vectors[one], vectors[other], dim=0))


def strangers(models: Models, least: float = 0.5) -> list[tuple[str, str, float]]:
    """Pairs of models whose parameters point in different directions (cosine below `least`), most different first.

    Models trained from one start stay at a cosine near 1; from different starts it is near 0, and their average is
    useless, as it lies between basins of the loss (Frankle et al. 2020). A warning says so.
    """
    apart = sorted((pair for pair in _pairs(named(models)) if pair[2] < least), key=lambda pair: pair[2])
    if apart:
        one, other, cosine = apart[0]
        _log.warning(
            "%r and %r seem to come from different initialisations (cosine of their parameters %.2f): an average "
            "across basins of the loss is useless. Look at the loss between them with averaging.interpolation.",
            one,
            other,
            cosine,
        )
    return apart
