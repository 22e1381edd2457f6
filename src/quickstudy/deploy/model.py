"""A learner that has learned one new task: it predicts class names, and it can be saved and shipped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.engine import resolve_device
from quickstudy.entries import prefixed, with_prefix
from quickstudy.episode import Examples, ImageFormat, Params, SeriesFormat, State, TaskSpec, check_examples
from quickstudy.errors import CheckpointError, ConfigError, DataError, RunError, ShapeError
from quickstudy.learners import Learner, ReaderLearner
from quickstudy.registry import models
from quickstudy.storage.folders import refuse_occupied
from quickstudy.storage.tensors import load_tensors, read_json, save_tensors, write_json
from quickstudy.tasks.windows import checked, roll_out, scale_of, seen_examples
from quickstudy.training.build import build_learner
from quickstudy.training.config import RunConfig

_META, _STATE = "meta.", "task."


@dataclass(frozen=True)
class Predictions:
    """What a model says of n inputs. classes: all class names (N). names: the likeliest, n of them.

    probabilities: (n, N). Iterating gives (name, probability) pairs.
    """

    classes: tuple[str, ...]
    probabilities: Tensor

    @property
    def names(self) -> list[str]:
        return [self.classes[i] for i in self.probabilities.argmax(dim=1).tolist()]

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(zip(self.names, self.probabilities.amax(dim=1).tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.probabilities)


@dataclass(frozen=True, repr=False)
class AdaptedModel:
    """φ and ψ of one task, with the names of its classes.

    `predict` takes images or vectors, `save` makes a folder of it.
    """

    config: RunConfig
    learner: Learner
    params: Params
    state: State
    classes: tuple[str, ...]
    built: TaskSpec | None = None
    """The tasks that the network was built for, where this one has fewer classes or columns."""
    scale: tuple[float, float] | None = None
    """Mean and spread of the series that was learned from, in its units."""

    def __repr__(self) -> str:
        told = f"classes {', '.join(self.classes)}" if self.classes else f"targets {self.learner.spec.target_shape}"
        return f"AdaptedModel({self.config.learner.name}, inputs {self.learner.spec.input_shape}, {told})"

    @property
    def image(self) -> ImageFormat | None:
        """How image files must be read for this model."""
        return self.learner.spec.image

    def __call__(self, x: Tensor) -> Tensor:
        """Raw predictions for x (n, *features) in the training format: logits (n, N), or values (n, *target)."""
        x = self._fitting(x)
        with torch.no_grad():
            return self.learner.predict(self.params, self.state, x)

    def _fitting(self, x: Tensor) -> Tensor:
        """x as φ is. Raises ShapeError or DataError for what the model cannot take."""
        x = _like(self.params, x)
        if tuple(x.shape[1:]) != self.learner.spec.input_shape:
            raise ShapeError(
                f"One input has shape {tuple(x.shape[1:])}, but the model was adapted to "
                f"{self.learner.spec.input_shape}. Give a batch (n, *features)"
                + ("; quickstudy.tasks.images.read_images makes one of files (divide by 255)." if self.image else ".")
            )
        if not bool(torch.isfinite(x).all()):
            raise DataError("x holds NaN or infinite values. Remove or fill them before predicting.")
        return x

    def distribution(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the target for x (n, *features), of learners that know how sure they are.

        Those are the readers: incontext, cnp, anp, snail, lstm, mann. Raises ConfigError for others.
        """
        if self.learner.spec.kind != "regression":
            raise ConfigError("This model names classes: its `predict` gives their probabilities.")
        if not isinstance(self.learner, ReaderLearner):
            raise ConfigError(
                f"The learner {self.config.learner.name!r} does not say how sure it is. Train one that reads, such as "
                "incontext or anp, for predictive uncertainty."
            )
        x = self._fitting(x)
        with torch.no_grad():
            return self.learner.distribution(self.params, self.state, x)

    def predict(self, x: Tensor) -> Predictions:
        """Class names and probabilities for x (n, *features)."""
        if self.learner.spec.kind != "classification":
            raise DataError("This model was trained on regression tasks: call model(x) for its values.")
        return Predictions(self.classes, self(x).softmax(dim=1).cpu())

    def forecast(self, seen: Sequence[float] | Tensor, steps: int) -> Tensor:
        """The `steps` values that follow the seen ones (length,) of a series, in their units: (steps,) float64.

        Each forecast is fed back as if it had been seen. The series may have gone on since it was learned. Raises
        DataError for fewer than two values or NaN, and for models that were not trained on series.
        """
        if steps < 1:
            raise ConfigError(f"steps must be at least 1, found {steps}: it is how many values to forecast.")
        return roll_out(self, checked(seen), steps, series_format(self.learner.spec), self.scale).cpu()

    def save(self, folder: str | Path) -> Path:
        """Write model.safetensors and model.json into `folder`, which must not hold a model or a run yet."""
        folder = Path(folder)
        refuse_occupied(folder)
        tensors = with_prefix(_META, self.params) | with_prefix(_STATE, self.state)
        save_tensors(folder / "model.safetensors", tensors, {"kind": "adapted model"})
        facts = {
            "config": self.config.to_json(),
            "classes": list(self.classes),
            "spec": spec_to_json(self.learner.spec),
            "built": spec_to_json(self.built or self.learner.spec),
            "scale": self.scale,
        }
        write_json(folder / "model.json", facts)
        return folder

    @classmethod
    def load(cls, folder: str | Path, module: nn.Module | None = None, device: str = "auto") -> AdaptedModel:
        """Read what `save` wrote. `module`: the network, where it was a module of your own."""
        folder = Path(folder)
        if not (folder / "model.json").exists() and (folder / "config.json").exists():
            raise RunError(
                f"{folder} is a run, which has learned how to learn but no task yet. Adapt it first: quickstudy adapt "
                f"{folder} --support IMAGES --out MODEL, or quickstudy.Run({str(folder)!r}).adapt(x, labels)."
            )
        facts = read_json(folder / "model.json")
        tensors, _ = load_tensors(folder / "model.safetensors", "adapted model")
        for name in ("config", "classes", "spec"):
            if name not in facts:
                raise CheckpointError(
                    f"{folder / 'model.json'} lacks its {name!r}: it was edited. Adapt the model again."
                )
        on = resolve_device(device)
        tensors = {name: value.to(on) for name, value in tensors.items()}
        config = RunConfig.from_json(facts["config"])
        spec = spec_from_json(facts["spec"])
        built = spec_from_json(facts.get("built", facts["spec"]))  # older files have none
        learner = build_learner(config, built, classes=1, module=module)
        learner = (learner if built == spec else learner.at(spec)).evaluated()
        params, state = prefixed(_META, tensors), prefixed(_STATE, tensors)
        scale = tuple(facts["scale"]) if facts.get("scale") else None
        return cls(config, learner, params, state, tuple(facts["classes"]), built, scale)


def adapt(
    config: RunConfig, learner: Learner, params: Params, x: Tensor, labels: Sequence[Any] | Tensor
) -> AdaptedModel:
    """Learn one new task from support inputs x (n, *features) and their labels (n class names, or regression targets).

    params: calibrated φ. Classes are numbered in the sorted order of their names. Models of tables take fewer columns
    than they were built for.
    """
    x = _like(params, x)
    if not len(x):
        raise DataError("There is no support example to learn from. Give at least one of each class.")
    device, built = x.device, learner.spec
    spec = built
    if models.facts(config.model.name).get("narrower"):
        if x.dim() != 2 or not x.shape[1]:
            raise ShapeError(
                f"A table has the shape (rows, columns), with at least one column; found {tuple(x.shape)}."
            )
        spec = replace(spec, input_shape=tuple(x.shape[1:]))
        learner = learner.at(spec)
    mask = torch.ones(len(x), dtype=torch.bool, device=device)
    if spec.kind == "regression":
        y = _targets(labels, x)
        flat = spec.target_shape == (1,) and y.dim() == 1
        support = Examples(x, y[:, None] if flat else y, mask)
        classes: tuple[str, ...] = ()
    else:
        given = labels.tolist() if isinstance(labels, Tensor) else list(labels)
        for index, label in enumerate(given):
            if label is None or (isinstance(label, float) and math.isnan(label)):
                raise DataError(f"Support example {index} has no label (found {label}). Drop the example or label it.")
        names = [str(label) for label in given]
        if len(names) != len(x):
            raise DataError(f"There are {len(x)} support examples but {len(names)} labels. Give one label for each.")
        classes = tuple(sorted(set(names)))
        if len(classes) < 2:
            raise DataError(f"All support examples are of one class ({', '.join(classes)}). Give at least two classes.")
        ids = torch.tensor([classes.index(name) for name in names], device=device)
        learner = learner.at(replace(spec, ways=len(classes)))
        support = Examples(x, ids, mask)
    check_examples(support, learner.spec)
    learner = learner.evaluated()
    with torch.no_grad():
        state = learner.adapt(params, support)
    return AdaptedModel(config, learner, params, state, classes, built)


def adapt_series(config: RunConfig, learner: Learner, params: Params, seen: Sequence[float] | Tensor) -> AdaptedModel:
    """Learn a new series from its seen values (length,), in units of its own: every one but the first is an example."""
    format, values = series_format(learner.spec), checked(seen)
    support = seen_examples(values, format)
    assert isinstance(support.x, Tensor)
    mean, spread = scale_of(values, format)
    return replace(adapt(config, learner, params, support.x, support.y), scale=(float(mean), float(spread)))


def series_format(spec: TaskSpec) -> SeriesFormat:
    """How series become examples; DataError where the tasks are of another kind."""
    if spec.series is None:
        raise DataError(
            "This was not trained on time series, so that it cannot learn or forecast one. Train on the tasks 'series' "
            "or 'series_csv', or call model(x)."
        )
    return spec.series


def _targets(labels: Sequence[Any] | Tensor, x: Tensor) -> Tensor:
    """Regression targets as x is; class names are refused."""
    try:
        return torch.as_tensor(labels, dtype=x.dtype).to(x.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"The run was trained on regression tasks, so labels must be numbers (n, *target), found {labels!r:.80} "
            f"({error}). To tell classes apart, train on classification tasks."
        ) from error


def _like(params: Params, x: Tensor) -> Tensor:
    """x on φ's device and in its precision; whole numbers are refused, as 0…255 is not what networks are trained on."""
    if isinstance(x, dict):
        raise ShapeError(
            f"x must be one tensor, found a dict of {', '.join(map(repr, x))}. For such inputs call the learner: "
            "run.learner.adapt(run.params, support) and run.learner.predict(run.params, state, x)."
        )
    x = torch.as_tensor(x)
    if not x.is_floating_point():
        raise ShapeError(
            f"x must be floating point, found {x.dtype}. Convert it with x.float(), or images with x.float() / 255."
        )
    return x.to(next(v for v in params.values() if v.is_floating_point()))


def spec_to_json(spec: TaskSpec) -> dict[str, Any]:
    return asdict(spec)


def spec_from_json(data: dict[str, Any]) -> TaskSpec:
    image = None if data["image"] is None else ImageFormat(**data["image"])
    series = None if data.get("series") is None else SeriesFormat(**data["series"])  # older files have none
    shapes = {name: tuple(data[name]) for name in ("input_shape", "target_shape")}
    return TaskSpec(**(data | shapes | {"image": image, "series": series}))
