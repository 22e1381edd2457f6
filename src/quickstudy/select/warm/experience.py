"""Experience: which points of a space were tried on past tasks, and what they lost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quickstudy.errors import DataError, QuickstudyError, RunError
from quickstudy.files import require_regular
from quickstudy.hints import misfit
from quickstudy.space import Array, Space, Values, key
from quickstudy.storage.atomic import write_text
from quickstudy.storage.held import alone
from quickstudy.storage.json import parsed

_KIND = "quickstudy experience 1"


class PastTask(NamedTuple):
    """A task of the past: n points that were tried, and their losses (n,), the lower the better; NaN where one failed.

    features: what is known of the task, by name.
    """

    name: str
    points: tuple[Values, ...]
    losses: Array
    features: Mapping[str, float] = {}

    @property
    def told(self) -> list[float | None]:
        """Its losses as `Experience.task` takes them: None where a trial failed."""
        return [None if math.isnan(loss) else float(loss) for loss in self.losses]

    @property
    def finished(self) -> Self:
        """Without the trials that failed."""
        kept = ~np.isnan(self.losses)
        if kept.all():
            return self
        points = tuple(point for point, keep in zip(self.points, kept, strict=True) if keep)
        return self._replace(points=points, losses=self.losses[kept])


class Group(NamedTuple):
    """Tasks that share their n points: losses (n, T), and the tasks' numbers (T,)."""

    points: tuple[Values, ...]
    losses: Array
    tasks: tuple[int, ...]


@dataclass(frozen=True)
class Experience:
    """What was tried on past tasks, all on one space.

    >>> from quickstudy.space import Range
    >>> past = Experience(Space({"x": Range(0.0, 1.0)})).task("monday", [{"x": 0.1}, {"x": 0.9}], [3.0, 1.0])
    >>> past.tasks[0].losses.tolist()
    [3.0, 1.0]
    """

    space: Space
    tasks: tuple[PastTask, ...] = ()

    def task(
        self,
        name: str,
        points: Sequence[Values],
        losses: Sequence[float | None],
        features: Mapping[str, float] | None = None,
    ) -> Self:
        """The experience with one task more, or with more trials of a task that it has. A loss of None is a trial that
        failed.

        Raises ConfigError for a point that is none of the space, DataError for losses that are no numbers, and where
        there is not one for each point.
        """
        if len(points) != len(losses):
            raise DataError(f"The task {name!r} has {len(points)} points and {len(losses)} losses. Give one for each.")
        for number, loss in enumerate(losses):
            if loss is not None and not math.isfinite(loss):
                raise DataError(f"The loss {number} of the task {name!r} is {loss}. Give None for a trial that failed.")
        for point in points:
            self.space.check(point)
        values = np.array([math.nan if loss is None else loss for loss in losses], dtype=np.float64)
        settled = tuple(self.space.settled(dict(point)) for point in points)
        settled = next((one.points for one in self.tasks if one.points == settled), settled)  # kept once
        new = PastTask(name, settled, values, dict(features or {}))
        for i, old in enumerate(self.tasks):
            if old.name == name:
                both = new._replace(
                    points=old.points + new.points,
                    losses=np.concatenate([old.losses, new.losses]),
                    features={**old.features, **new.features},
                )
                return replace(self, tasks=(*self.tasks[:i], both, *self.tasks[i + 1 :]))
        return replace(self, tasks=(*self.tasks, new))

    def without(self, *names: str) -> Self:
        """Without the tasks of these names: what is measured must not know itself."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.name not in names))

    @property
    def useful(self) -> tuple[PastTask, ...]:
        """The tasks that say something: with two different losses or more; trials that failed are left out."""
        finished = [task.finished for task in self.tasks]
        return tuple(task for task in finished if len(task.losses) and np.ptp(task.losses) > 0)

    def groups(self) -> list[Group]:
        """The useful tasks by the points that they share; a task's trials of one point are taken as their mean."""
        found: dict[tuple[str, ...], tuple[list[Values], list[Array], list[int]]] = {}
        layouts: dict[int, tuple[list[Values], NDArray[np.int64], tuple[str, ...]]] = {}
        for number, task in enumerate(self.useful):
            if id(task.points) not in layouts:  # tasks that share their points have the same tuple
                keys, first, which = np.unique([key(p) for p in task.points], return_index=True, return_inverse=True)
                layouts[id(task.points)] = ([task.points[i] for i in first], which, tuple(keys.tolist()))
            points, places, names = layouts[id(task.points)]
            of = found.setdefault(names, (points, [], []))
            of[1].append(np.bincount(places, task.losses) / np.bincount(places))
            of[2].append(number)
        return [Group(tuple(p), np.stack(losses, axis=1), tuple(tasks)) for p, losses, tasks in found.values()]

    def told(self) -> str:
        """What there is, in a sentence."""
        tried = [len(task.losses) for task in self.tasks]
        failed = sum(int(np.isnan(task.losses).sum()) for task in self.tasks)
        silent = len(self.tasks) - len(self.useful)
        parts = [f"{len(self.tasks)} tasks with {sum(tried)} trials"]
        parts += [f"{failed} of them failed"] if failed else []
        parts += [f"{silent} tasks with no two different losses say nothing"] if silent else []
        return ", ".join(parts) + "."

    def save(self, path: str | Path) -> None:
        """Write it as JSON lines: the space, then points and tasks. Points that tasks share are written once."""
        lines, seen = [_line({"kind": _KIND, "space": self.space.to_json()})], dict[str, int]()
        for task in self.tasks:
            lines += _lines(self.space, task, seen)
        write_text(Path(path), "".join(lines))

    @classmethod
    def load(cls, path: str | Path, space: Space | None = None) -> Self:
        """Read what `save` or `append` wrote. space: what it must be about.

        Raises RunError if there is no file, DataError, naming the line, for what is no experience, or that of another
        space.
        """
        found, points = None, list[list[Values]]()
        for number, line in enumerate(_read(Path(path)), 1):
            where = f"{path}, line {number}"
            data = parsed(line, where)
            try:
                if found is None:
                    found = cls(_space(data, where))
                    if space is not None and found.space != space:
                        raise DataError(
                            f"{path} is experience of another space: {json.dumps(found.space.to_json())}, expected "
                            f"{json.dumps(space.to_json())}. Give that of this space."
                        )
                elif "points" in data:
                    points.append([_point(found.space, row, where) for row in data["points"]])
                else:
                    if wrong := misfit(data["losses"], list[float | None], "losses"):
                        raise DataError(f"{where}: {wrong}. Correct it.")
                    found = found.task(data["task"], points[data["at"]], data["losses"], data.get("features"))
            except QuickstudyError as error:
                raise error if where in str(error) else DataError(f"{where}: {error}") from error
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise DataError(f"{where} is no line of experience ({error!r}). Restore the file.") from error
        if found is None:
            raise DataError(f"{path} is empty. Give a file that `Experience.save` wrote.")
        return found

    @staticmethod
    def append(path: str | Path, space: Space, name: str, points: Sequence[Values], losses: Sequence[float | None],
               features: Mapping[str, float] | None = None) -> None:  # fmt: skip
        """Add trials of a task to the file at `path`, or begin it. Several processes may do so at once: one waits for
        the other. Raises DataError if it is of another space."""
        path = Path(path)
        with alone(path):
            old = Experience.load(path, space) if path.exists() else Experience(space)
            old.task(name, points, losses, features).save(path)


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":")) + "\n"


def _lines(space: Space, task: PastTask, seen: dict[str, int]) -> Iterator[str]:
    """The line of a task, after that of its points if they are new."""
    rows = [[point[name] for name in space.names] for point in task.points]
    text = _line({"points": rows})
    if text not in seen:
        seen[text] = len(seen)
        yield text
    features = {"features": dict(task.features)} if task.features else {}
    yield _line({"task": task.name, "at": seen[text], **features, "losses": task.told})


def _read(path: Path) -> list[str]:
    require_regular(path)
    try:
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except FileNotFoundError as error:
        raise RunError(f"There is no experience {path}. Give a file that `Experience.save` wrote.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no experience: it is not in UTF-8. Give a file that `save` wrote.") from error


def _space(data: Any, where: str) -> Space:
    if not isinstance(data, dict) or data.get("kind") != _KIND:
        raise DataError(f"{where}: this is no experience. Give a file that `Experience.save` wrote.")
    return Space.from_json(data["space"])


def _point(space: Space, row: list[Any], where: str) -> Values:
    if len(row) != len(space.names):
        raise DataError(f"{where}: a point has {len(row)} values, expected {len(space.names)}. Correct it.")
    point = dict(zip(space.names, (tuple(v) if isinstance(v, list) else v for v in row), strict=True))
    space.check(point)
    return point
