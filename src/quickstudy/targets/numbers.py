"""Numbers: one or several quantities for each example, with or without a spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples, State
from quickstudy.errors import DataError, ShapeError
from quickstudy.masked import mean_and_spread, require_range
from quickstudy.registry import targets
from quickstudy.targets.answers.numbers import NumberAnswer
from quickstudy.targets.base import Target
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.metric import Metric
from quickstudy.targets.reported import Figure
from quickstudy.targets.units import Units

_NOTHING = 1e-9  # of R²: rounding
_LOST = 0.1  # of the labels' spread: rounding that is no longer small
_LEAST = 1e-3  # standard deviation, in the units of the label as the network sees it


@targets.register("numbers")
@dataclass(frozen=True, kw_only=True)
class Numbers(Target):
    """Quantities (n, *shape), floating point; predictions are values of the same shape.

    shape: of one label; () is a single number without an axis of its own. units: for people.
    """

    shape: tuple[int, ...] = (1,)
    units: str = ""

    metric = Metric("mse", "MSE", "mean squared error", higher_is_better=False, short="squared error")
    density = True
    promises = "intervals"
    steps_shown = (0, 1, 5, 10)
    guess = "always the mean"
    remedy = "--target-offset"

    @property
    def outputs(self) -> int:
        return math.prod(self.shape)

    @property
    def prediction_shape(self) -> tuple[int, ...]:
        return self.shape

    def __str__(self) -> str:
        count = "a number" if self.outputs == 1 else f"{self.outputs} numbers"
        return f"{count}{f' ({self.units})' if self.units else ''}"

    def learned(self, examples: str) -> str:
        return f"Learned from {examples} to tell {self}"

    def require_numbers(self, who: str, instead: str) -> None:
        return None

    def check(self, y: Tensor, name: str, lead: int) -> None:
        if tuple(y.shape[lead:]) != self.shape:
            raise ShapeError(
                f"{name} has the shape {tuple(y.shape[lead:])} after its first {lead} axes, expected {self.shape} for "
                "one label. Reshape it, or give the target that shape."
            )
        if not y.is_floating_point():
            raise ShapeError(f"{name} holds numbers and must be floating point, found {y.dtype}. Use y.float().")

    def encode(self, labels: Any) -> tuple[Tensor, tuple[str, ...]]:
        """Numbers (n, *shape); where one label is (1,), also (n,)."""
        import numpy as np

        try:
            if hasattr(labels, "to_numpy"):  # of a data frame
                labels = labels.to_numpy()
            read = labels
            if isinstance(labels, list | tuple):
                read = [_of_text(i, label) if isinstance(label, str) else label for i, label in enumerate(labels)]
            elif isinstance(labels, np.ndarray) and not labels.flags.writeable:  # of which PyTorch warns
                read = labels.copy()
            # At once: a list of numbers would be float32 first, and lose what is too large or too small.
            y = torch.as_tensor(read, dtype=torch.float64 if isinstance(read, list | tuple) else None)
        except (TypeError, ValueError, RuntimeError) as error:
            shape = ", ".join(map(str, ("n", *self.shape)))
            raise DataError(
                f"The tasks have targets that are numbers, so labels must be numbers ({shape}), found "
                f"{labels!r:.80} ({error}). To tell classes apart, train on tasks of classes."
            ) from error
        y = y[:, None] if self.shape == (1,) and y.dim() == 1 else y
        bad = (~torch.isfinite(y)).flatten(1).any(1) if y.dim() > 1 else ~torch.isfinite(y)
        if bool(bad.any()):
            raise DataError(
                f"The labels hold NaN or infinite values in {int(bad.sum())} examples, first in example "
                f"{int(bad.nonzero()[0])}. Fill or drop them."
            )
        require_range(y, "The labels' column")
        _require_apart(y)
        return y if y.is_floating_point() and not isinstance(read, list | tuple) else y.to(torch.float32), ()

    def statistics(self, examples: Examples) -> dict[str, Any]:
        known = examples.y[examples.mask]
        return {"target mean": float(known.mean()), "target spread": float(known.std(correction=0))}

    def losses(self, prediction: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Squared error, mean over the numbers of a label, in its units squared."""
        return (prediction - y).square().unsqueeze(-1).flatten(1).mean(dim=1)

    def scores(self, prediction: Tensor, y: Tensor) -> Tensor:
        return self.losses(prediction, y)

    def reported(self, prediction: Tensor, examples: Examples) -> list[Figure]:
        """The headline, its root, the mean absolute error, and R²: the share of the labels' variance that is told,
        1 − Σ (y − ŷ)² / Σ (y − ȳ)², NaN where labels do not vary; each over all numbers of a label."""
        real = examples.mask
        said, true = (t[real].double().unsqueeze(-1).flatten(1) for t in (prediction, examples.y))
        error = (said - true).square()
        spread = (true - true.mean(0)).square().sum()
        told = torch.where(spread > 0, 1 - error.sum() / spread, torch.nan)
        told = torch.where(told.abs() < _NOTHING, 0.0, told)
        squared = f"{self.units}²" if self.units else ""
        return [
            Figure(self.metric.name, error.mean(), units=squared),
            Figure("RMSE", error.mean().sqrt(), units=self.units),
            Figure("MAE", (said - true).abs().mean(), units=self.units),
            Figure("R²", told, higher=True, least=-math.inf, most=1.0),
        ]

    def coded(self, examples: Examples, dtype: torch.dtype) -> Tensor:
        return examples.y.unsqueeze(-1).flatten(1).to(dtype) * examples.mask[:, None]

    def baseline(self, support: Examples, query: Examples) -> Tensor:
        """The mean of the support set's labels."""
        known = support.mask.to(support.y.dtype)
        values = self.coded(support, support.y.dtype).sum(0) / known.sum().clamp(min=1)
        return values.reshape(1, *self.shape).expand_as(query.y)

    def scatter(self, z: Tensor, centred: Tensor, weights: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
        """Spread, and covariance with the first number of the label."""
        target = examples.y.flatten(1)[:, 0] if examples.y.dim() > 1 else examples.y
        return centred.square().sum(0).sqrt(), ((target - weights @ target) * weights.sqrt()) @ centred

    def distribution(self, output: Tensor, scale: State) -> Distribution:
        """Normal distributions, from a mean and a raw spread for each number: (n, 2 · outputs)."""
        mean, raw = output.chunk(2, dim=1)
        spread = _LEAST + torch.nn.functional.softplus(raw)
        if scale:
            mean, spread = scale["y.mean"] + scale["y.spread"] * mean, scale["y.spread"] * spread
        return Distribution(mean.reshape(-1, *self.shape), spread.reshape(-1, *self.shape))

    def surprise(self, said: Distribution, y: Tensor) -> Tensor:
        assert said.spread is not None
        each = 0.5 * ((y - said.mean) / said.spread).square() + said.spread.log() + 0.5 * math.log(2 * math.pi)
        return each.unsqueeze(-1).flatten(1).mean(1)

    def scale(self, support: Examples) -> State:
        """'y.mean' and 'y.spread' (outputs,) of the support set; labels that are all alike keep their unit."""
        values = support.y.unsqueeze(-1).flatten(1)
        mean, spread = mean_and_spread(values, support.mask.view(-1, 1), dim=0)
        return {"y.mean": mean[0], "y.spread": torch.where(spread[0] > 0, spread[0], 1.0)}

    def scaled(self, coded: Tensor, scale: State) -> Tensor:
        return (coded - scale["y.mean"]) / scale["y.spread"] if scale else coded

    def said(self, said: Distribution, units: Units | None = None) -> dict[str, Tensor]:
        values = {"mean": said.mean} | ({} if said.spread is None else {"spread": said.spread})
        if units is not None:
            mean, unit = units.mean.to(said.mean.device), units.spread.to(said.mean.device)
            values = {name: value * unit + mean if name == "mean" else value * unit for name, value in values.items()}
        return values

    def answer(self, said: Distribution, names: Sequence[str], units: Units | None = None) -> NumberAnswer:
        values = {name: value.cpu() for name, value in self.said(said, units).items()}
        return NumberAnswer(values["mean"], values.get("spread"), self.units)

    def plotted(self, values: Tensor) -> Tensor | None:
        return values.flatten() if self.outputs == 1 else None

    def told(self, y: Tensor, names: Sequence[str]) -> list[str]:
        return [", ".join(f"{number:.3g}" for number in one.flatten().tolist()) for one in y]

    def lead(self, given: str, example: str, whole: str, each: bool) -> str:
        value = "value" if self.outputs == 1 else f"{self.outputs} values"
        return (
            f"Shown {given} of a {whole} it has never seen, each with its {value}, this network predicts the values of "
            f"further {example}s."
        )


def _require_apart(y: Tensor) -> None:
    """DataError for numbers (n, …) that differ by less than single precision tells apart where they lie."""
    if len(y) < 2 or y.dtype != torch.float64:
        return
    largest, spread = y.abs().amax(0), y.std(0, correction=0)
    lost = (spread > 0) & (torch.finfo(torch.float32).eps * largest > _LOST * spread)
    if bool(lost.any()):
        at = float(y.mean(0).flatten()[int(lost.flatten().long().argmax())])
        raise DataError(
            f"The labels differ too little beside their size: they lie about {at:.6g}, and single precision, in which "
            f"tasks are computed, cannot tell them apart. Subtract {at:.6g} from all of them, and add it to what is "
            "predicted."
        )


def _of_text(index: int, label: str) -> float:
    """The number that a label of a file writes; DataError, naming where that is known, for any other text."""
    try:
        return float(label)
    except ValueError:
        raise DataError(
            f"{getattr(label, 'place', f'Example {index}')}: labels must be numbers, as the run's targets are, found "
            f"{str(label)!r:.60}. Write digits and a decimal point alone, as in 1200.5, or drop the row. To tell "
            "classes apart, use a run on tasks of classes."
        ) from None
