"""A time series as examples: a window of past values, and the value that follows it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quickstudy.episode import Examples, SeriesFormat, TaskSpec
from quickstudy.errors import ConfigError, DataError, ShapeError
from quickstudy.losses import mean_and_spread


def series_spec(format: SeriesFormat, units: str = "") -> TaskSpec:
    """The spec of tasks whose examples are windows (window, 2), each with the one value that follows."""
    if format.window < 1:
        raise ConfigError(f"window must be at least 1, found {format.window}: a forecast needs a value before it.")
    return TaskSpec("regression", (format.window, 2), target_shape=(1,), units=units, series=format)


def measure(values: Tensor, known: Tensor, format: SeriesFormat) -> tuple[Tensor, Tensor]:
    """Mean and spread (standard deviation) of the values (…, n) where `known` (…, n) bool is True: (…, 1) each.

    0 and 1 where the format leaves values as they are; a constant series has spread 1.
    """
    if not format.normalise:
        return values.new_zeros((*values.shape[:-1], 1)), values.new_ones((*values.shape[:-1], 1))
    mean, spread = mean_and_spread(values, known, dim=-1)
    return mean, torch.where(spread > 0, spread, 1.0)


def windows(values: Tensor, points: Tensor, window: int) -> Tensor:
    """What is known before each of `points` (…, k) int64 of the series (…, n): (…, k, window, 2).

    The last axis holds a value and a mask, which is 1, or 0 before the first point of the series, where the value is 0.
    """
    at = points[..., None] - window + torch.arange(window, device=points.device)
    there = at >= 0
    seen = values.gather(-1, at.clamp(min=0).flatten(-2)).reshape(at.shape)
    return torch.stack([seen * there, there.to(values.dtype)], dim=-1)


def checked(seen: object) -> Tensor:
    """The seen values of a series (length,) as float64; ShapeError or DataError where they teach nothing."""
    try:
        if isinstance(seen, Tensor) and seen.is_complex():
            raise TypeError("complex numbers have no order")
        values = torch.as_tensor(seen, dtype=torch.float64).detach()  # at once: a list would be float32 first
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"The seen values of a series must be numbers, found {seen!r:.80} ({error}).") from error
    if values.dim() != 1:
        raise ShapeError(f"The seen values must have one axis (length,), found shape {tuple(values.shape)}.")
    if len(values) < 2:
        raise DataError(
            f"A series must have been seen for at least 2 points, found {len(values)}: a support example is a point "
            "and what came before it. Wait for more values."
        )
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        raise DataError(
            f"The seen values hold {float(values[int(bad[0])])} at position {int(bad[0])} ({len(bad)} such values in "
            "all). Fill them, from their neighbours for instance."
        )
    return values


def scale_of(values: Tensor, format: SeriesFormat) -> tuple[Tensor, Tensor]:
    """Mean and spread (1,) of seen values (length,); see `measure`."""
    return measure(values, torch.ones_like(values, dtype=torch.bool), format)


def seen_examples(seen: object, format: SeriesFormat) -> Examples:
    """The support set that the seen values (length,) make: every point but the first, (length − 1) examples, float32.

    Raises DataError for fewer than two values, or NaN.
    """
    values = checked(seen)
    mean, spread = scale_of(values, format)
    scaled = ((values - mean) / spread).to(torch.float32)
    points = torch.arange(1, len(values), device=values.device)
    known = torch.ones_like(points, dtype=torch.bool)
    return Examples(windows(scaled, points, format.window), scaled[1:, None], known)


def roll_out(
    predict: Callable[[Tensor], Tensor],
    seen: Tensor,
    steps: int,
    format: SeriesFormat,
    scale: tuple[float, float] | None = None,
) -> Tensor:
    """The `steps` values that follow the seen ones (length,), in their units; each forecast is fed back: (steps,).

    predict: a learned task's values (n, 1) for inputs (n, window, 2). scale: mean and spread of the values that the
    task was learned from; those of the seen ones if not given.
    """
    mean, spread = scale or scale_of(seen, format)
    values = (seen - mean) / spread
    for _ in range(steps):
        end = torch.tensor([values.shape[-1]], device=values.device)
        values = torch.cat([values, predict(windows(values, end, format.window))[:, 0].to(values)])
    return values[len(seen) :] * spread + mean
