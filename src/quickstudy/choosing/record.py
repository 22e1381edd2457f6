"""What was tried: a line for each trial at each rung, written as it comes, so that nothing finished is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from quickstudy.choosing.trial import Found
from quickstudy.errors import CheckpointError
from quickstudy.files import require_regular
from quickstudy.space import Array, Values
from quickstudy.storage.json import parsed

LINES = "trials.jsonl"
_Z = 1.96


class _Line(TypedDict):
    trial: int
    rung: int
    point: dict[str, Any]
    error: str
    steps: int
    seconds: float
    mean: float | None
    ci95: float | None
    values: list[float]


@dataclass(frozen=True)
class Trial:
    """A trial at one rung. point: of the menu's space; the recipe itself where it is empty. mean, ci95: of the headline
    over validation tasks, of which each one's are the `values` (tasks). error: why it failed; '' if it did not."""

    trial: int
    rung: int
    point: Values
    error: str = ""
    steps: int = 0
    seconds: float = 0.0
    mean: float = float("nan")
    ci95: float = float("nan")
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, trial: int, rung: int, point: Values, found: Found | None, error: str) -> Trial:
        if found is None:
            return cls(trial, rung, point, error or "it gave nothing")
        if not np.isfinite(found["mean"]):
            return cls(trial, rung, point, "its validation gave no number", found["steps"], found["seconds"])
        return cls(
            trial, rung, point, "", found["steps"], found["seconds"], found["mean"], found["ci95"],
            tuple(found["values"]),
        )  # fmt: skip

    def ahead_of(self, other: Trial, sign: float) -> tuple[float, float]:
        """By how much it is better than the other over the validation tasks of both, and the half-width of the 95 %
        interval. sign: 1 where more is better, -1 where less is."""
        count = min(len(self.values), len(other.values))
        gains = sign * (np.array(self.values[:count]) - np.array(other.values[:count]))
        return float(gains.mean()), _Z * float(gains.std(ddof=1)) / count**0.5 if count > 1 else float("inf")

    def beats(self, other: Trial, sign: float) -> bool:
        """Whether it is clearly better than the other, in the same validation tasks; as `ahead_of`."""
        ahead, half = self.ahead_of(other, sign)
        return ahead > half

    def to_json(self) -> dict[str, Any]:
        known = np.isfinite(self.mean)
        return {
            "trial": self.trial, "rung": self.rung, "point": self.point, "error": self.error, "steps": self.steps,
            "seconds": round(self.seconds, 3), "mean": self.mean if known else None,
            "ci95": self.ci95 if np.isfinite(self.ci95) else None, "values": list(self.values),
        }  # fmt: skip


@dataclass
class Record:
    """All trials of a search, in the order in which they came. higher: whether more is better."""

    folder: Path
    higher: bool
    trials: list[Trial] = field(default_factory=list)

    @property
    def sign(self) -> float:
        return 1.0 if self.higher else -1.0

    @classmethod
    def read(cls, folder: Path, higher: bool) -> Record:
        """What was written; a last line that a crash cut off is dropped, there and in the file.

        Raises CheckpointError for a line that is damaged.
        """
        path, found = folder / LINES, cls(folder, higher)
        require_regular(path)
        if not path.exists():
            return found
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        for number, text in enumerate(whole.splitlines(), 1):
            what = f"Line {number} of {path}"
            line = parsed(text, what, _Line, "Delete the line; its trial is then tried again.")
            if line["mean"] is None and not line["error"]:
                raise CheckpointError(f"{what} has neither a result nor an error. Delete it.")
            nan = float("nan")
            found.trials.append(
                Trial(
                    line["trial"], line["rung"], line["point"], line["error"], line["steps"], line["seconds"],
                    nan if line["mean"] is None else line["mean"], nan if line["ci95"] is None else line["ci95"],
                    tuple(line["values"]),
                )
            )  # fmt: skip
        return found

    def add(self, trial: Trial) -> None:
        """Write it, so that it is there after a crash."""
        self.trials.append(trial)
        with (self.folder / LINES).open("ab") as file:
            file.write((json.dumps(trial.to_json(), separators=(",", ":")) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())

    def at(self, rung: int) -> list[Trial]:
        """The trials that finished a rung, the best first, the earlier of equal ones."""
        there = [t for t in self.trials if t.rung == rung and not t.error]
        return sorted(there, key=lambda t: (-self.sign * t.mean, t.trial))

    @property
    def latest(self) -> list[Trial]:
        """Each trial where it came furthest: those of later rungs first, and the better first within a rung."""
        seen, found = set[int](), list[Trial]()
        for rung in range(max((t.rung for t in self.trials), default=-1), -1, -1):
            for one in self.at(rung):
                if one.trial not in seen:
                    seen.add(one.trial)
                    found.append(one)
        return found

    @property
    def failed(self) -> list[Trial]:
        return [t for t in self.trials if t.error]

    def trained(self, trial: Trial) -> float:
        """Seconds of training up to a rung, those before it included."""
        return sum(t.seconds for t in self.trials if t.trial == trial.trial and t.rung <= trial.rung)

    def losses(self, rung: int = 0) -> tuple[list[Values], Array]:
        """What was chosen, and the loss of each at a rung, NaN where it failed; the recipe itself is left out."""
        there = [t for t in self.trials if t.rung == rung and t.point]
        return [t.point for t in there], np.array([-self.sign * t.mean for t in there])


def told(point: Mapping[str, Any]) -> str:
    """A point in words."""
    if not point:
        return "the recipe"
    words = [str(point["learner"]), str(point["network"]), f"lr {point['lr']:.2g}"]
    return ", ".join(words + ([f"{point['ways']} × ways"] if point.get("ways", 1) != 1 else []))
