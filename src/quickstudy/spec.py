"""What the tensors of a task mean: a format and a target. It travels with runs, models, memories and exports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from quickstudy.brief import Brief
from quickstudy.episode import Episode, Examples
from quickstudy.errors import CheckpointError, ConfigError, DataError, ShapeError, fitting_together
from quickstudy.formats.base import Format
from quickstudy.formats.records import Records
from quickstudy.hub import local
from quickstudy.masked import unlabelled
from quickstudy.registry import Part, Registry, formats, targets
from quickstudy.targets.base import Target

_LARGEST = 1 << 26
VERSION = 1
"""Of the JSON of a spec; later ones are refused."""


@dataclass(frozen=True)
class TaskSpec(Brief):
    """format: what is seen. target: what is asked."""

    format: Format
    target: Target

    def __post_init__(self) -> None:
        if self.target.whole_only and self.format.cuts:
            raise ConfigError(
                f"Answers that are {self.target} are about all of a record, but longer {self.format.what} would be cut "
                f"into parts, of which training sees one. Have them refused: the option {self.format.cuts!r} of the "
                "format."
            )
        for name, leaf in self.format.layout.items():
            if any(size < 0 for size in leaf.shape) or math.prod(leaf.shape) > _LARGEST:
                raise ConfigError(
                    f"One example of {self.format} would have the shape {leaf.shape} ({name}): sizes are not negative, "
                    f"and {_LARGEST:,} numbers are the most. Make it smaller."
                )

    def __str__(self) -> str:
        return f"{self.format}; {self.target}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one x, without the example axis; () where x is several tensors."""
        return self.format.input_shape

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for one example."""
        return self.target.outputs

    @property
    def ways(self) -> int:
        """How many classes a task has; 0 where labels are no classes."""
        return self.target.ways

    @property
    def each(self) -> TaskSpec:
        """What is asked of one place of an example, where its answer is made of many."""
        return self if not self.target.grid else replace(self, target=self.target.each)

    def at(self, ways: int) -> TaskSpec:
        """The same for tasks of so many classes."""
        return replace(self, target=self.target.at(ways))

    def find(self, place: Any) -> Records:
        """The records at a place, with labels as the target has them: beside the records, or in files of their own.

        place: as the format takes it, or a data set of the hub, see `quickstudy.hub.local`.
        """
        place = local(place)
        if self.target.grid:
            return self.format.pixels.find(place)
        return self.format.find(place, not self.format.labels_itself)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "format": _described(formats, self.format),
            "target": _described(targets, self.target),
        }

    @classmethod
    def from_json(cls, data: Any) -> TaskSpec:
        """The inverse of `to_json`; CheckpointError, naming the part, for what is none."""
        if not isinstance(data, Mapping) or not isinstance(data.get("version"), int):
            raise CheckpointError(f"The description of the tasks is none, found {data!r:.80}. Train or adapt anew.")
        if data["version"] > VERSION:
            raise CheckpointError(
                f"The description of the tasks has version {data['version']}, written by a newer quickstudy; this one "
                f"reads up to {VERSION}. Upgrade with: pip install --upgrade quickstudy"
            )
        return cls(_restored(formats, data.get("format")), _restored(targets, data.get("target")))


def _described(registry: Registry[Any, Any], part: Any) -> dict[str, Any]:
    """A format or target by its registered name and its fields."""
    return {"name": registry.name_of(type(part)), "options": asdict(part)}


def _restored(registry: Registry[Any, Any], data: Any) -> Any:
    if not (
        isinstance(data, Mapping) and isinstance(data.get("name"), str) and isinstance(data.get("options"), Mapping)
    ):
        raise CheckpointError(f"A {registry.kind} must be stored as its name and options, found {data!r:.80}.")
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in data["options"].items()}
    if data["name"] not in registry:
        raise ConfigError(
            f"There is no {registry.kind} called {data['name']!r:.80} here. If it is one of your own, import the file "
            "that registers it first: --import FILE.py on the command line."
        )
    with fitting_together(f"A stored {registry.kind} cannot be made", "Restore the file from a copy."):
        return Part(registry, data["name"], options).build()


def check_examples(
    examples: Examples, spec: TaskSpec, name: str = "support", tasks: bool = False, partly: bool = False
) -> None:
    """Refuse tensors that do not fit `spec`, naming the axis and both sizes.

    examples: leaves of shape (n, …), or (T, n, …) with `tasks`. partly: some may be without a class, of the id
    UNLABELLED. Raises ShapeError for a wrong shape or dtype and
    DataError for values that cannot be learned from, in padding too: NaN or infinite, class ids outside [0, ways).
    """
    lead = 2 if tasks else 1
    axes = ("task", "example") if tasks else ("example",)
    if examples.mask.dtype != torch.bool:
        raise ShapeError(f"{name}.mask must be bool (True = a real example), found {examples.mask.dtype}.")
    if examples.mask.dim() != lead:
        raise ShapeError(
            f"{name}.mask must have the axes {axes}, found shape {tuple(examples.mask.shape)}. "
            "Use torch.ones(n, dtype=torch.bool) where nothing is padded."
        )
    several = len(spec.format.layout) > 1
    inputs = spec.format.named(examples.x, f"{name}.x").items()
    for label, tensor in [*((f"x[{n!r}]" if several else "x", x) for n, x in inputs), ("y", examples.y)]:
        for axis, axis_name in enumerate(axes):
            size = tensor.shape[axis] if tensor.dim() > axis else None
            if size != examples.mask.shape[axis]:
                raise ShapeError(
                    f"{name}.{label} has size {size} along the {axis_name} axis (axis {axis}), but {name}.mask "
                    f"has {examples.mask.shape[axis]}. Give every tensor the same number of examples."
                )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(
                f"{name}.{label} holds NaN or infinite values. Remove or fill them (padding, where the mask is False, "
                "with 0)."
            )
    spec.format.check(examples.x, lead, f"{name}.x")
    y = examples.y
    spec.target.check(torch.where(unlabelled(examples), 0, y) if partly and y.dim() == lead else y, f"{name}.y", lead)


def check_episode(episode: Episode, spec: TaskSpec, tasks: bool = False, partly: bool = False) -> None:
    """Check both parts of an episode (with a leading task axis if `tasks`); see `check_examples`.

    partly: some support examples may be without a class.
    """
    check_examples(episode.support, spec, "support", tasks, partly)
    check_examples(episode.query, spec, "query", tasks)
